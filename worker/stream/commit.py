"""The commit path: what stands between a consumed record and its committed offset. Knows neither Kafka nor Faust."""

from __future__ import annotations

from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from itertools import takewhile
from typing import Generic, TypeVar

Outcome = TypeVar("Outcome")


class Slot(Generic[Outcome]):
    """The place of one record in its partition's order; empty until its outcome is known."""

    __slots__ = ("ack", "offset", "outcome")

    def __init__(self, offset: int, ack: Callable[[], object]) -> None:
        self.offset = offset
        self.ack = ack
        self.outcome: Outcome | None = None


class Ledger(Generic[Outcome]):
    """The records of one source partition that were read and not yet acknowledged, in source order.

    `revoked` is set when the partition goes to another worker: nothing of it is acknowledged any more.
    """

    def __init__(self) -> None:
        self._slots: deque[Slot[Outcome]] = deque()
        self.revoked = False

    def admit(self, offset: int, ack: Callable[[], object]) -> Slot[Outcome]:
        """Append the next record of the partition.

        Raises:
            ValueError: offsets do not rise; the caller mixed two reads of the partition.
        """
        if self._slots and offset <= self._slots[-1].offset:
            raise ValueError(f"offset {offset} after {self._slots[-1].offset}: offsets of a partition must rise")
        slot: Slot[Outcome] = Slot(offset, ack)
        self._slots.append(slot)
        return slot

    @property
    def ready(self) -> bool:
        """Whether the oldest record has its outcome."""
        return bool(self._slots) and self._slots[0].outcome is not None

    def finished(self) -> list[Slot[Outcome]]:
        """The longest prefix whose outcomes are all known."""
        return list(takewhile(lambda slot: slot.outcome is not None, self._slots))

    def forget(self, count: int) -> None:
        """Drop the first `count` records, after they were acknowledged."""
        for _ in range(count):
            self._slots.popleft()

    def __len__(self) -> int:
        return len(self._slots)


async def settle(ledger: Ledger[Outcome], publish: Callable[[Sequence[Outcome]], Awaitable[None]]) -> int:
    """Publish and acknowledge the finished prefix of one partition; the number of records settled.

    The guarantee: an offset is acknowledged only after its outcome, and that of every record before it, is in Kafka.
    A crash at any line repeats outcomes and loses none. `publish` returns when the brokers have every record, and
    raises when one of them may be missing; then nothing is acknowledged. One `settle` at a time for each partition.
    """
    # 1. Take the finished prefix: first occurrences keep source order, and no gap can be acknowledged over.
    prefix = ledger.finished()
    # 2. Publish it in source order, and wait until the brokers have it.
    await publish([slot.outcome for slot in prefix if slot.outcome is not None])
    # 3. Acknowledge the source offsets, in order; a partition lost meanwhile is its new owner's to acknowledge.
    if ledger.revoked:
        return 0
    for slot in prefix:
        slot.ack()
    # 4. Forget them: what follows is the new head.
    ledger.forget(len(prefix))
    return len(prefix)
