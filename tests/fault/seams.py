"""A worker that dies at one seam of its commit path: `python -m tests.fault.seams <seam> <passing>`.

The product holds no code for this: the steps are wrapped here, in the worker's process, and nowhere else.
"""

from __future__ import annotations

import functools
import os
import signal
import sys
from collections.abc import Callable
from typing import Any

from worker.opinion.store import AggregateStore
from worker.settings import settings
from worker.stream.commit import Ledger
from worker.stream.kafka import KafkaPublisher
from worker.stream.main import run
from worker.stream.recovery import Recovery

SEAMS: dict[str, tuple[type, str]] = {
    "after_infer": (Recovery, "answers"),
    "after_publish": (KafkaPublisher, "publish"),
    "after_redis": (AggregateStore, "apply"),
    "after_ack": (Ledger, "forget"),
}
"""Of each seam, the call behind whose return the worker dies. `forget` follows the acks of a finished prefix."""


class Countdown:
    """SIGKILLs this process at the given passing."""

    def __init__(self, passing: int) -> None:
        self._left = passing

    def pass_by(self) -> None:
        """Count one passing."""
        self._left -= 1
        if self._left == 0:
            os.kill(os.getpid(), signal.SIGKILL)


def dying_after(call: Callable[..., Any], countdown: Countdown) -> Callable[..., Any]:
    """The call, plain or a coroutine, with a passing behind it."""

    @functools.wraps(call)
    async def later(*arguments: Any, **options: Any) -> Any:
        result = await call(*arguments, **options)
        countdown.pass_by()
        return result

    @functools.wraps(call)
    def at_once(*arguments: Any, **options: Any) -> Any:
        result = call(*arguments, **options)
        countdown.pass_by()
        return result

    return later if call.__code__.co_flags & 0x80 else at_once  # CO_COROUTINE


def main(seam: str, passing: int) -> int:
    """Run the worker with one seam armed."""
    owner, name = SEAMS[seam]
    setattr(owner, name, dying_after(getattr(owner, name), Countdown(passing)))
    return run(settings())


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], int(sys.argv[2])))
