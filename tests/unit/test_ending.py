"""How a worker's process ends, whatever still runs in it."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys

import pytest

from worker.stream.ending import EXIT_FAILED, cancel

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


HANGING = """
import asyncio
async def redis_that_never_answers(): await asyncio.Event().wait()
async def stop(): await redis_that_never_answers()
async def main():
    ending.limit_stop(0.2)
    await asyncio.create_task(stop(), name="stopping")
asyncio.run(main())
"""


def test_a_stop_that_hangs_ends_in_time_and_says_where() -> None:
    """The process ends non-zero, with what its threads and its tasks wait for, instead of standing half stopped."""
    status, log = _run(HANGING)
    assert status == EXIT_FAILED
    stacks, reason = log.split('{"error"')
    assert "StoppedLate" in reason
    assert "in run_forever" in stacks, "a thread's"
    assert "redis_that_never_answers" in stacks.split("Task stopping")[1], "a task's, to its innermost place"


def test_a_stop_whose_loop_is_blocked_ends_in_time_and_says_where() -> None:
    """Also when nothing of the loop runs any more."""
    status, log = _run(
        HANGING.replace('await asyncio.create_task(stop(), name="stopping")', "threading.Event().wait()")
    )
    assert status == EXIT_FAILED
    assert "StoppedLate" in log
    assert "wait" in log.split("worker_failed")[0], "the stacks come before the reason"
    assert "run_forever" in log.split("in wait", 1)[1], "the loop's thread, and what blocks it"


@pytest.mark.parametrize("turns", range(8))
def test_a_task_ends_in_whatever_moment_it_is_cancelled(turns: int) -> None:
    """Also in the one in which `asyncio.wait_for` of Python 3.11 swallows the cancellation."""

    async def sends_and_waits() -> None:
        await asyncio.wait_for(asyncio.sleep(0), timeout=60)
        await asyncio.Event().wait()

    async def cancelled_after() -> bool:
        task = asyncio.create_task(sends_and_waits())
        for _ in range(turns):
            await asyncio.sleep(0)
        _, running = await asyncio.wait({asyncio.create_task(cancel([task]))}, timeout=30)
        assert not running, "the task runs on"
        return task.cancelled()

    assert asyncio.run(cancelled_after())
