"""Processor time of process trees."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from bench.cpu import Meter, own_process, read_stats, tree_cpu_s

BURN = "import time\nwhile time.process_time() < 0.5: pass\nprint(flush=True)\ninput()"


def test_a_tree_is_a_process_and_its_descendants() -> None:
    """Grandchildren count, strangers do not."""
    stats = {1: (0, 5.0), 2: (1, 1.0), 3: (2, 2.0), 4: (1, 4.0)}
    assert tree_cpu_s(stats, 2) == 3.0
    assert tree_cpu_s(stats, 1) == 12.0


def test_the_meter_sees_what_a_process_uses() -> None:
    """The processor time of a child is in its trace, and not in that of another name."""
    with subprocess.Popen([sys.executable, "-c", BURN], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as child:
        with Meter({"busy": [child.pid], "gone": [2**22 + 1]}) as meter:
            assert child.stdout is not None
            child.stdout.readline()
        child.communicate(b"\n")
    assert meter.traces["gone"] == []
    used = [cpu_s for _, cpu_s in meter.traces["busy"]]
    assert used == sorted(used)
    assert 0.4 <= used[-1] < 5


def test_processes_of_others_are_not_taken_for_ours() -> None:
    """A server that does not run here is not found, whoever else runs one."""
    assert os.getpid() in read_stats()
    with pytest.raises(LookupError, match="no-such-server"):
        own_process("no-such-server")
