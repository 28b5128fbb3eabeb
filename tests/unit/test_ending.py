"""How a worker's process ends, whatever still runs in it."""

from __future__ import annotations

import json
import subprocess
import sys

from worker.stream.ending import EXIT_FAILED

BLOCKED = """
import threading
from worker.stream import ending
from worker.telemetry import configure_logging
configure_logging("info")
threading.Thread(target=threading.Event().wait, name="blocked").start()
"""


def _run(then: str) -> tuple[int, str]:
    done = subprocess.run(
        [sys.executable, "-c", BLOCKED + then], capture_output=True, text=True, timeout=60, check=False
    )
    return done.returncode, done.stderr


def test_a_stop_that_is_complete_ends_the_process_though_a_thread_still_waits() -> None:
    """Threads that the interpreter would join at its end do not keep a stopped worker alive."""
    status, log = _run("ending.end_stopped()")
    assert status == 0
    assert json.loads(log)["event"] == "worker_stopped"


def test_a_stop_that_hangs_ends_in_time_and_says_where() -> None:
    """The process ends non-zero, with the stacks of its threads, instead of standing half stopped."""
    status, log = _run("ending.limit_stop(0.2); threading.Event().wait()")
    assert status == EXIT_FAILED
    assert "StoppedLate" in log
    assert "wait" in log.split("worker_failed")[0], "the stacks come before the reason"
