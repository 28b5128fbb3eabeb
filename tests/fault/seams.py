"""A worker that dies at one seam of its commit path: `python -m tests.fault.seams <seam> <passing>`.

The product holds no code for this: the steps are wrapped here, in the worker's process, and nowhere else.
"""

from __future__ import annotations

import asyncio
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
    "before_publish": (KafkaPublisher, "publish"),
    "after_infer": (Recovery, "answers"),
    "after_publish": (KafkaPublisher, "publish"),
    "after_redis": (AggregateStore, "apply"),
    "after_ack": (Ledger, "forget"),
}
"""Of each seam, the call before or behind which the worker dies. `forget` follows the acks of a finished prefix."""

HELD_S = 1.5
"""How long the call in front of which the worker dies is held back: time for whoever commits too early to do so."""


class Countdown:
    """SIGKILLs this process at the given passing."""

    def __init__(self, passing: int) -> None:
        self._left = passing

    def pass_by(self) -> None:
        """Count one passing."""
        self._left -= 1
        if self._left == 0:
            os.kill(os.getpid(), signal.SIGKILL)

    async def hold_then_pass_by(self) -> None:
        """Count one passing, with a long wait in front of the last."""
        if self._left == 1:
            await asyncio.sleep(HELD_S)
        self.pass_by()


def dying_before(call: Callable[..., Any], countdown: Countdown) -> Callable[..., Any]:
    """The coroutine, with a passing in front of it."""

    @functools.wraps(call)
    async def later(*arguments: Any, **options: Any) -> Any:
        await countdown.hold_then_pass_by()
        return await call(*arguments, **options)

    return later


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
    dying = dying_before if seam.startswith("before_") else dying_after
    setattr(owner, name, dying(getattr(owner, name), Countdown(passing)))
    return run(settings())


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], int(sys.argv[2])))
