"""How a worker's process ends: at once when something failed, and in bounded time when it was told to stop.

Faust and the interpreter wait, without a limit, for tasks and threads that have nothing left to lose: what was read is
settled or will be read again. Workers that had closed everything were seen alive a minute later.
"""

from __future__ import annotations

import asyncio
import faulthandler
import os
import sys
import threading
from collections.abc import Iterable, Iterator
from typing import Any, NoReturn

from worker.errors import PolyvoxError, StoppedLate, TooManyDeadLetters
from worker.telemetry import Log, get_logger

EXIT_FAILED = 70
"""EX_SOFTWARE of sysexits.h: the supervisor starts the worker again."""

EXIT_DEAD_LETTERS = 78
"""EX_CONFIG of sysexits.h: a limit on dead letters is exceeded; starting again would dead-letter as many more."""

STOP_S = 14.0
"""How long a stop may take: a second less than what is promised to whoever stops workers."""

CANCEL_AGAIN_S = 0.2


def end_process_of(failed: asyncio.Future[None]) -> None:
    """End the process when a future, once done, has failed."""
    if not failed.cancelled() and (error := failed.exception()) is not None:
        end_process(error)


def end_process(error: BaseException) -> NoReturn:
    """End at once and non-zero, committing nothing more: Faust would go on beside an orphaned reader."""
    known = isinstance(error, PolyvoxError)
    get_logger().error(
        Log.WORKER_FAILED, error=str(error), kind=type(error).__name__, exc_info=None if known else error
    )
    _exit(EXIT_DEAD_LETTERS if isinstance(error, TooManyDeadLetters) else EXIT_FAILED)


def end_stopped() -> NoReturn:
    """End with 0 after a stop that has settled and closed everything, whatever else is waited for."""
    get_logger().info(Log.WORKER_STOPPED)
    _exit(0)


async def cancel(tasks: Iterable[asyncio.Task[None]]) -> None:
    """Cancel tasks until they have ended; what they raise is left to their callbacks.

    Once is not enough: before Python 3.12, `asyncio.wait_for`, through which redis-py sends, swallows a cancellation
    that comes in the moment in which what it waits for is done (python/cpython issue 86296).
    """
    running = {task for task in tasks if not task.done()}
    while running:
        for task in running:
            task.cancel()
        _, running = await asyncio.wait(running, timeout=CANCEL_AGAIN_S)


def limit_stop(limit_s: float = STOP_S) -> None:
    """From a stop's beginning: end non-zero if it is not over in time, and log where threads and tasks stand.

    Call inside the event loop whose tasks are meant.
    """
    timer = threading.Timer(limit_s, _end_late, [limit_s, asyncio.get_running_loop()])
    timer.daemon = True
    timer.start()


def _end_late(limit_s: float, loop: asyncio.AbstractEventLoop) -> NoReturn:
    late = StoppedLate(
        f"the stop took longer than {limit_s:.0f} s; what is not committed is read again by the next worker; the "
        "stacks above show what it waited for: please report them"
    )
    try:
        faulthandler.dump_traceback()
        for task in asyncio.all_tasks(loop):
            sys.stderr.write(f"Task {task.get_name()}: {' > '.join(_awaited(task))}\n")
    finally:  # the loop runs on meanwhile: whatever its tasks do to this walk, the process ends
        end_process(late)


def _awaited(task: asyncio.Task[Any]) -> Iterator[str]:
    """The places at which a task waits, outermost first: `Task.print_stack` knows only the first."""
    waits: Any = task.get_coro()
    while (frame := getattr(waits, "cr_frame", None)) is not None:
        yield f"{frame.f_code.co_filename}:{frame.f_lineno} in {frame.f_code.co_qualname}"
        waits = waits.cr_await


def _exit(status: int) -> NoReturn:
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)
