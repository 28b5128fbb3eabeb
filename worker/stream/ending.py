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
from typing import NoReturn

from worker.errors import PolyvoxError, StoppedLate, TooManyDeadLetters
from worker.telemetry import Log, get_logger

EXIT_FAILED = 70
"""EX_SOFTWARE of sysexits.h: the supervisor starts the worker again."""

EXIT_DEAD_LETTERS = 78
"""EX_CONFIG of sysexits.h: a limit on dead letters is exceeded; starting again would dead-letter as many more."""

STOP_S = 14.0
"""How long a stop may take: a second less than what is promised to whoever stops workers."""


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


def limit_stop(limit_s: float = STOP_S) -> None:
    """From a stop's beginning: end non-zero if it is not over in time, with the stacks of all threads in the log."""
    timer = threading.Timer(limit_s, _end_late, [limit_s])
    timer.daemon = True
    timer.start()


def _end_late(limit_s: float) -> NoReturn:
    faulthandler.dump_traceback()
    end_process(
        StoppedLate(
            f"the stop took longer than {limit_s:.0f} s; what is not committed is read again by the next worker; the "
            "stacks above show what it waited for: please report them"
        )
    )


def _exit(status: int) -> NoReturn:
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)
