"""The heaps of a process, as glibc tells them."""

from __future__ import annotations

import platform
import subprocess
import sys

import pytest

pytestmark = pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="heaps are glibc's")

COUNT = """
import ctypes, sys, threading
from worker.stream.heaps import tidy_heaps
if sys.argv[1] == "tidy":
    tidy_heaps()
libc = ctypes.CDLL(None)
libc.malloc.restype, libc.fopen.restype = ctypes.c_void_p, ctypes.c_void_p
meet = threading.Barrier(8)
def hold():
    for _ in range(100):
        libc.malloc(1000)
    meet.wait()
threads = [threading.Thread(target=hold) for _ in range(8)]
[thread.start() for thread in threads]
[thread.join() for thread in threads]
libc.free.argtypes = [ctypes.c_void_p]
libc.free(libc.malloc(4_000_000))  # after this, glibc by itself takes smaller ones from the heap
[libc.malloc(1_000_000) for _ in range(10)]
out = ctypes.c_void_p(libc.fopen(b"/dev/stdout", b"w"))
libc.malloc_info(0, out)
libc.fflush(out)
"""


def told(how: str) -> str:
    """What malloc_info says of a process with eight threads and ten blocks of a megabyte."""
    run = subprocess.run([sys.executable, "-c", COUNT, how], capture_output=True, text=True, check=True, timeout=60)
    return run.stdout


def of_the_kernel(how: str) -> int:
    """Bytes in blocks outside any heap."""
    line = next(line for line in told(how).splitlines() if 'type="mmap"' in line)
    return int(line.split('size="')[1].split('"')[0])


def test_threads_share_two_heaps() -> None:
    """Where each thread had its own."""
    assert told("tidy").count("<heap nr=") <= 2 < told("own").count("<heap nr=")


def test_large_blocks_stay_out_of_the_heaps() -> None:
    """Also after a larger one was freed, when glibc by itself would take them from there."""
    assert of_the_kernel("tidy") >= 10_000_000 > of_the_kernel("own")


FREE = """
import ctypes
from pathlib import Path
from worker.stream.heaps import give_back, tidy_heaps
tidy_heaps()
libc = ctypes.CDLL(None)
libc.malloc.restype, libc.free.argtypes = ctypes.c_void_p, [ctypes.c_void_p]
libc.memset.argtypes = [ctypes.c_void_p, ctypes.c_int, ctypes.c_size_t]
blocks = [libc.malloc(20_000) for _ in range(4_000)]
[libc.memset(block, 1, 20_000) for block in blocks]
[libc.free(block) for block in blocks[:-1]]  # the last one keeps the heap from shrinking
resident = lambda: int(Path("/proc/self/statm").read_text().split()[1]) * 4096
before = resident()
give_back()
print(before - resident())
"""


def test_free_memory_between_others_is_given_back() -> None:
    """80 MB that were used once and are free, below a block that is not."""
    run = subprocess.run([sys.executable, "-c", FREE], capture_output=True, text=True, check=True, timeout=60)
    assert int(run.stdout) > 60_000_000
