"""Counts one partition's outcomes into a second generation until it has what the live counters have, and swaps it in.

A record may have both an analysis and a dead letter; the one that was applied first counted, which only the live guard
knows. So a dead letter whose original was not counted as analysed goes first, and any other one last.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from worker.errors import PositionLost, Transient
from worker.feeds.log import Record
from worker.opinion.days import Written
from worker.opinion.outcomes import read_outcome
from worker.opinion.staging import Staging
from worker.opinion.store import Consumed, Store
from worker.replay.plan import Source
from worker.settings import Settings
from worker.verify.audit import Place

ROUNDS = 200
"""Tries to catch up with a worker that goes on counting; it pauses `aggregate_wait_ms` unless outcomes queue up."""


class Log(Protocol):
    """What is followed; `Stretches` is one."""

    def records(self, topic: str, partition: int, begin: int, end: int) -> Iterator[Record]:
        """The records of one partition from `begin` up to, not with, `end`."""
        ...


@dataclass(slots=True)
class Follower:
    """Rebuilds one partition.

    Args:
        counted: told how many records were read and counted, as they are.
        rounds: how often it caught up; the last time nobody had counted meanwhile.
    """

    log: Log
    store: Store
    staging: Staging
    settings: Settings
    counted: Callable[[int], None]
    rounds: int = 0
    outcomes: int = 0
    _at: dict[Place, int] = field(default_factory=dict)

    async def rebuild(self, source: Source) -> None:
        """Count and swap.

        Raises:
            PositionLost: outcomes are gone from the logs, or what was staged is.
            Transient: the worker counted on each time; nothing was swapped.
            StoreUnavailable, BrokerUnavailable: a server is away or full; nothing was swapped.
        """
        self._at = dict(source.start)
        await self.staging.begin(source.shard, source.start)
        while self.rounds < ROUNDS:
            self.rounds += 1
            positions = (await self.store.positions([source.shard]))[source.shard]
            await self._follow(source.shard, positions)
            if await self.staging.swap(source.shard, positions, whole=source.whole) == "swapped":
                return
        raise Transient(
            f"{source.shard}: the worker counted on during each of {ROUNDS} tries to swap; nothing was changed there, "
            "run the replay again when fewer posts come"
        )

    async def _follow(self, shard: str, upto: Mapping[Place, int]) -> None:
        """Count what the live counters have and this generation does not."""
        unknown = upto.keys() - self._at.keys()
        if unknown:
            raise PositionLost(f"{shard}: the worker has begun to read {sorted(unknown)}; run the replay again")
        dead = [place for place in sorted(self._at) if place[0] == self.settings.dead_letters_topic]
        others = [place for place in sorted(self._at) if place not in dead]
        for place in dead:
            at = self._at[place]
            for _, letters in self._batches(shard, place, upto.get(place, 0)):
                analysed = await self.store.resolved([one.outcome.original for one in letters])
                first = [one for one, known in zip(letters, analysed, strict=True) if not known]
                await self.staging.apply(shard, Consumed(*place, at, at), first)
        for place in [*others, *dead]:
            for next_offset, read in self._batches(shard, place, upto.get(place, 0)):
                await self.staging.apply(shard, Consumed(*place, self._at[place], next_offset), read)
                self._at[place] = next_offset
                self.outcomes += len(read)

    def _batches(self, shard: str, place: Place, end: int) -> Iterator[tuple[int, list[Written]]]:
        """The shard's outcomes from where this generation is, and the offset after each batch."""
        begin = self._at[place]
        records: list[Record] = []
        for record in self.log.records(*place, begin, end) if begin < end else ():
            _require_next(record, begin + len(records))
            records.append(record)
            if len(records) == self.settings.aggregate_batch or record.offset + 1 == end:
                begin += len(records)
                yield begin, _outcomes_of(shard, records)
                self.counted(len(records))
                records = []
        if begin < end:
            raise _gone(place, begin + len(records), end)


def _require_next(record: Record, expected: int) -> None:
    """Refuse a log with holes: polyvox writes no transactions, so outcomes are gone that had been counted."""
    if record.offset != expected:
        raise _gone((record.topic, record.partition), expected, record.offset)


def _gone(place: Place, begin: int, end: int) -> PositionLost:
    return PositionLost(
        f"{place[0]}[{place[1]}]: offsets {begin} to {end - 1} are gone, by compaction or because the retention passed "
        "meanwhile; nothing was changed there"
    )


def _outcomes_of(shard: str, records: Sequence[Record]) -> list[Written]:
    """The outcomes of one source partition; records of others, and what polyvox did not write, are left out."""
    found = []
    for record in records:
        try:
            outcome = read_outcome(record.headers, record.value)
        except ValueError:
            continue  # the worker logged and skipped it
        if outcome.position.shard == shard:
            found.append(Written(outcome, record.timestamp_ms))
    return found
