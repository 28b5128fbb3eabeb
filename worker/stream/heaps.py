"""How glibc keeps a worker's memory: few heaps, nothing large in them, and what is free goes back.

By itself glibc gives nearly each thread a heap of its own, up to eight for a core, and gives little back of any. And
once a large block has been freed, blocks of up to its size come from the heaps, too (a threshold that moves), where
smaller ones settle between them. Both leave free pieces that grow with each outage, when all that waits is fetched and
worked off at once (mallopt(3): M_ARENA_MAX, M_MMAP_THRESHOLD, M_TRIM_THRESHOLD). And of the 60 MB that are free in the
heaps after a start only those at their ends are given back; the others became resident again, piece by piece, with
each outage (malloc_trim(3)).
"""

from __future__ import annotations

import ctypes

LIBRARY = ctypes.CDLL(None)
M_TRIM_THRESHOLD, M_MMAP_THRESHOLD, M_ARENA_MAX = -1, -3, -8
HEAPS = 2
LARGE_BYTES = 65_536
"""Blocks from this size on are the kernel's own, and go back to it: what was fetched, batches, messages to Triton."""


def tidy_heaps() -> None:
    """Let this process have `HEAPS` heaps and nothing large in them; before its threads.

    Nothing happens where the C library is another.
    """
    if hasattr(LIBRARY, "mallopt"):
        LIBRARY.mallopt(M_ARENA_MAX, HEAPS)
        LIBRARY.mallopt(M_MMAP_THRESHOLD, LARGE_BYTES)
        LIBRARY.mallopt(M_TRIM_THRESHOLD, 2 * LARGE_BYTES)


def give_back() -> None:
    """Give the kernel what is free in the heaps; a few milliseconds, without the interpreter's lock."""
    if hasattr(LIBRARY, "malloc_trim"):
        LIBRARY.malloc_trim(0)
