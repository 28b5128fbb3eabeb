"""The contract of an aggregate store, and its implementation in Redis."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol

from worker.errors import PositionLost
from worker.events import SourcePosition
from worker.opinion import keys
from worker.opinion.applying import APPLY, Applier
from worker.opinion.cells import Outcome
from worker.opinion.client import Link, Script
from worker.opinion.increments import increments
from worker.opinion.strikes import strike
from worker.settings import Settings
from worker.timing import Clock, SystemClock

Positions = dict[str, dict[tuple[str, int], int]]


@dataclass(frozen=True, slots=True)
class Consumed:
    """A stretch of one consumed partition (of `enriched` or `dead-letters`) that a batch covers.

    Args:
        topic: the consumed topic, not the source's.
        partition: the consumed partition.
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

    async def positions(self, shards: Iterable[str]) -> Positions:
        """The stored positions: shard -> (consumed topic, partition) -> next offset to read; absent if none."""
        ...

    async def apply(self, shard: str, consumed: Consumed, outcomes: Sequence[Outcome]) -> Applied:
        """Count a batch of outcomes and store the position, atomically. An empty batch moves the position only.

        Args:
            shard: `SourcePosition.shard` of every outcome in the batch.
            consumed: where the batch was read.
            outcomes: in the order in which they were read.

        Raises:
            PositionLost: the stored position is lower than expected (the store lost writes): nothing was applied;
                end the process, and seek to `positions` at the next start.
            ValueError: an outcome of another shard.
        """
        ...

    async def resolved(self, positions: Sequence[SourcePosition]) -> list[bool]:
        """Whether each record was counted as analysed: itself, or as a requeued dead letter."""
        ...

    async def strike(self, event_id: str) -> int:
        """Note one more failure of a record alone, and return how many are noted; forgotten after a day."""
        ...

    async def aclose(self) -> None:
        """Release the connections."""
        ...


def require_shard(shard: str, outcomes: Sequence[Outcome]) -> None:
    """Refuse a batch that mixes source partitions.

    Raises:
        ValueError: names the position.
    """
    for outcome in outcomes:
        if outcome.position.shard != shard:
            raise ValueError(f"{outcome.position} does not belong to the batch of shard {shard}")


def position_lost(shard: str, consumed: Consumed, stored: int) -> PositionLost:
    """The error for a store that fell behind what it had confirmed."""
    found = "no position" if stored < 0 else f"position {stored}"
    return PositionLost(
        f"the store holds {found} for partition {consumed.partition} of {consumed.topic} (shard {shard}), but "
        f"{consumed.expected_offset} had been confirmed: it lost writes; nothing was applied, restart the worker, "
        f"which continues from the stored position"
    )


class AggregateStore:
    """The aggregates in Redis: one script call per batch and source partition.

    Args:
        link: the connection; closed with the store.
        settings: retentions and limits.
        clock: what "too late" is measured against.
        script: `apply.lua`; tests pass mutants of it.
    """

    def __init__(self, link: Link, settings: Settings, clock: Clock | None = None, script: Script = APPLY) -> None:
        self._link = link
        self._clock = clock or SystemClock()
        self._applier = Applier(link, settings, script)
        self._registered: set[str] = set()

    @classmethod
    def of(cls, settings: Settings) -> AggregateStore:
        """The store that is configured; connects at its first use."""
        return cls(Link.of(settings), settings)

    async def check(self) -> list[str]:
        return await self._link.check()

    async def positions(self, shards: Iterable[str]) -> Positions:
        wanted = list(shards)
        async with self._link.use("reading positions") as client, client.pipeline(transaction=False) as pipe:
            for shard in wanted:
                pipe.hgetall(f"{keys.prefix(shard)}:positions")
            replies = await pipe.execute()
        return {
            shard: {keys.parse_position_field(field): int(offset) for field, offset in reply.items()}
            for shard, reply in zip(wanted, replies, strict=True)
        }

    async def apply(self, shard: str, consumed: Consumed, outcomes: Sequence[Outcome]) -> Applied:
        require_shard(shard, outcomes)
        await self._register(shard)
        header: dict[str, int | str] = {
            "position_field": keys.position_field(consumed.topic, consumed.partition),
            "expected": -1 if consumed.expected_offset is None else consumed.expected_offset,
            "next": consumed.next_offset,
        }
        now_ms, retention = self._clock.unix_ms(), self._applier.retention
        counted = [(outcome, increments(outcome, retention, now_ms)) for outcome in outcomes]
        reply = await self._applier.call(keys.prefix(shard), header, counted, now_ms)
        if reply[0] == "lost":
            raise position_lost(shard, consumed, int(reply[1]))
        return Applied(int(reply[1]), int(reply[2]))

    async def _register(self, shard: str) -> None:
        """Make a shard known to queries; it lies outside the shard's hash slot, so the script cannot."""
        if shard not in self._registered:
            async with self._link.use("registering a partition") as client:
                await client.sadd(keys.SHARDS, shard)
            self._registered.add(shard)

    async def resolved(self, positions: Sequence[SourcePosition]) -> list[bool]:
        async with self._link.use("looking up records") as client, client.pipeline(transaction=False) as pipe:
            for position in positions:
                chunk, place = divmod(position.offset, keys.GUARD_CHUNK)
                pipe.getbit(f"{keys.prefix(position.shard)}:guard:{chunk}", place * 2 + 1)
            replies = await pipe.execute()
        return [bool(bit) for bit in replies]

    async def strike(self, event_id: str) -> int:
        return await strike(self._link, event_id)

    async def aclose(self) -> None:
        await self._link.aclose()
