"""How long the command line takes to say what it can do."""

from __future__ import annotations

import subprocess
import sys
import time

from worker.settings import REPOSITORY

RUNS = 7


def help_times_s() -> list[float]:
    """Wall-clock times of `polyvox --help`; the first run, which reads the disk, is left out."""
    times_s = []
    for _ in range(RUNS + 1):
        started_s = time.perf_counter()
        subprocess.run([sys.executable, "-m", "worker", "--help"], cwd=REPOSITORY, check=True, capture_output=True)
        times_s.append(time.perf_counter() - started_s)
    return times_s[1:]
