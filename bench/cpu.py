"""Processor time of a process and of all that it started, sampled while it runs, and its memory: from /proc."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Self

Trace = Sequence[tuple[float, float]]
"""(Unix seconds, processor seconds used by then) in order of time."""

TICKS_PER_S = os.sysconf("SC_CLK_TCK")
EVERY_S = 0.2


class Meter:
    """Samples the processor time of some process trees, every `EVERY_S` and when the block ends.

    Args:
        roots: the process ids by name; several of one name add up. One that ended is sampled no more.
    """

    def __init__(self, roots: Mapping[str, Sequence[int]]) -> None:
        self._roots = roots
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._sample, daemon=True)
        self.traces: dict[str, list[tuple[float, float]]] = {name: [] for name in roots}

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()

    def _sample(self) -> None:
        last = False
        while not last:
            last = self._ended.wait(EVERY_S)
            stats, now_s = read_stats(), time.time()
            for name, roots in self._roots.items():
                if all(root in stats for root in roots):
                    self.traces[name].append((now_s, sum(tree_cpu_s(stats, root) for root in roots)))


def read_stats() -> dict[int, tuple[int, float]]:
    """(parent, processor seconds with those of its collected children) of every process: proc_pid_stat(5)."""
    found = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = path.read_text().rpartition(")")[2].split()
        except OSError:  # it ended while we looked
            continue
        found[int(path.parent.name)] = int(fields[1]), sum(map(int, fields[11:15])) / TICKS_PER_S
    return found


def tree_cpu_s(stats: Mapping[int, tuple[int, float]], root: int) -> float:
    """Processor seconds of a process and its descendants."""
    children: dict[int, list[int]] = {}
    for pid, (parent, _) in stats.items():
        children.setdefault(parent, []).append(pid)
    waiting, total_s = [root], 0.0
    while waiting:
        pid = waiting.pop()
        total_s += stats[pid][1]
        waiting += children.get(pid, [])
    return total_s


def resident_bytes(pid: int) -> int:
    """Resident memory of a process; 0 once it ended."""
    try:
        status = Path(f"/proc/{pid}/status").read_text(encoding="ascii")
    except (OSError, ProcessLookupError):
        return 0
    sizes = [int(line.split()[1]) * 1024 for line in status.splitlines() if line.startswith("VmRSS:")]
    return sizes[0] if sizes else 0


def own_process(program: str) -> int:
    """The process of this name that this one started, through a guard; the first found.

    Raises:
        LookupError: there is none.
    """
    stats = read_stats()
    for pid in sorted(stats):
        path, above = Path(f"/proc/{pid}/cmdline"), stats[pid][0]
        try:
            command = path.read_bytes().split(b"\0")[0].decode()
            named = Path(command.split(" ")[0]).name == program  # Redis writes its address behind its name
        except OSError:  # it ended, or is somebody else's
            continue
        if named and above in stats and stats[above][0] == os.getpid():
            return pid
    raise LookupError(f"no {program} runs here")
