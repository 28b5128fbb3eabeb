"""The contract of an aggregate store, and its implementation in Redis."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol

from worker.events import SourcePosition
from worker.opinion.cells import Outcome


@dataclass(frozen=True, slots=True)
class Consumed:
    """A stretch of one consumed partition (of `enriched` or `dead-letters`) that a batch covers.

    Args:
        topic, partition: the consumed partition, not the source's.
        expected_offset: the position that the caller believes is stored: what it read from `positions` at its
            start, then the `next_offset` of its last `apply`. None only while it has seen none stored.
        next_offset: the first offset after this batch; stored with it, and never moved back.
    """

    topic: str
    partition: int
    expected_offset: int | None
    next_offset: int


@dataclass(frozen=True, slots=True)
class Applied:
    """How many outcomes of a batch were counted now, and how many had been before."""

    first: int
    repeats: int


class Store(Protocol):
    """Where outcomes are counted, each with exactly-once effect. Every call may be repeated safely.

    All methods raise `StoreUnavailable` (retry the same call with a Backoff) or `ConfigInvalid` (end).
    """

    async def check(self) -> list[str]:
        """Refuse a server that cannot keep the promises; called once at start.

        Returns:
            Warnings for the log, one line each.

        Raises:
            ConfigInvalid: evicting memory policy, other key layout, too old a server.
        """
        ...

    async def positions(self, shards: Iterable[str]) -> dict[str, dict[tuple[str, int], int]]:
        """The stored positions: shard -> (consumed topic, partition) -> next offset to read; absent if none."""
        ...

    async def apply(self, shard: str, consumed: Consumed, outcomes: Sequence[Outcome]) -> Applied:
        """Count a batch of outcomes and store the position, atomically. An empty batch moves the position only.

        Args:
            shard: `SourcePosition.shard` of every outcome in the batch.

        Raises:
            PositionLost: the stored position is lower than expected (the store lost writes): nothing was applied;
                end the process, and seek to `positions` at the next start.
            ValueError: an outcome of another shard.
        """
        ...

    async def add_gap(self, shard: str, consumed: Consumed) -> int:
        """Count the consumed offsets from the stored position to `next_offset` as expired and move there.

        Returns:
            How many were counted; 0 when the position was there already.
        """
        ...

    async def resolved(self, positions: Sequence[SourcePosition]) -> list[bool]:
        """Whether each record has been counted as analysed, itself or as a requeued dead letter."""
        ...

    async def strike(self, event_id: str) -> int:
        """Note one more failure of a record alone, and return how many are noted; forgotten after a while."""
        ...

    async def aclose(self) -> None:
        """Release the connections."""
        ...
