"""A store in this process's memory, with the semantics of the one in Redis: for tests, and nothing to install.

It forgets no guard bits and keeps expired buckets; both only matter over days.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from worker.events import SourcePosition
from worker.opinion.cells import Bucket, Outcome, Retention
from worker.opinion.counts import Counts
from worker.opinion.increments import increments
from worker.opinion.reader import Cells, FormCounts, Forms, Posts, Stored
from worker.opinion.store import Applied, Consumed, Positions, position_lost, require_shard
from worker.settings import Settings
from worker.timing import Clock, SystemClock


@dataclass(slots=True)
class _Shard:
    """One source partition."""

    positions: dict[tuple[str, int], int] = field(default_factory=dict)
    seen: set[int] = field(default_factory=set)
    counts: Counts = field(default_factory=Counts)


class MemoryStore:
    """A `Store` and a `Reader` at once.

    Args:
        settings: retentions and limits.
        clock: what "too late" is measured against.
    """

    def __init__(self, settings: Settings, clock: Clock | None = None) -> None:
        self._clock = clock or SystemClock()
        self._retention = Retention.of(settings)
        self._forms_limit = settings.entity_forms_per_window
        self._shards: dict[str, _Shard] = {}
        self._strikes: Counter[str] = Counter()

    async def check(self) -> list[str]:
        return ["aggregates are kept in memory and end with this process"]

    async def positions(self, shards: Iterable[str]) -> Positions:
        return {shard: dict(self._known(shard).positions) for shard in shards}

    async def apply(self, shard: str, consumed: Consumed, outcomes: Sequence[Outcome]) -> Applied:
        require_shard(shard, outcomes)
        data = self._shards.setdefault(shard, _Shard())
        self._move(shard, data, consumed)
        first, counts, now_ms = 0, data.counts, self._clock.unix_ms()
        for outcome in outcomes:
            if outcome.position.offset not in data.seen:
                data.seen.add(outcome.position.offset)
                first += 1
                counts.count(outcome, increments(outcome, self._retention, now_ms))
        if first:
            counts.totals["applied_ms"] = max(counts.totals["applied_ms"], now_ms)
        for forms in counts.forms.values():
            _evict(forms, self._forms_limit)
        return Applied(first, len(outcomes) - first)

    async def add_gap(self, shard: str, consumed: Consumed) -> int:
        data = self._shards.setdefault(shard, _Shard())
        before = self._move(shard, data, consumed)
        expired = 0 if before is None else max(0, consumed.next_offset - before)
        if expired:
            data.counts.totals["expired"] += expired
        return expired

    def _move(self, shard: str, data: _Shard, consumed: Consumed) -> int | None:
        """Check the expected position, store the next one, and return the one before."""
        place = (consumed.topic, consumed.partition)
        stored = data.positions.get(place)
        expected = consumed.expected_offset
        if expected is not None and (stored is None or stored < expected):
            raise position_lost(shard, consumed, -1 if stored is None else stored)
        data.positions[place] = max(consumed.next_offset, -1 if stored is None else stored)
        return stored

    async def resolved(self, positions: Sequence[SourcePosition]) -> list[bool]:
        return [position.offset in self._known(position.shard).counts.analysed for position in positions]

    async def strike(self, event_id: str) -> int:
        self._strikes[event_id] += 1
        return self._strikes[event_id]

    async def aclose(self) -> None:
        """Nothing to release."""

    def _known(self, shard: str) -> _Shard:
        """A shard to read; an empty one if nothing was ever applied to it."""
        return self._shards.get(shard) or _Shard()

    async def shards(self) -> list[str]:
        return sorted(self._shards)

    async def totals(self, shard: str) -> dict[str, int]:
        return {name: value for name, value in self._known(shard).counts.totals.items() if value}

    async def buckets(self, shard: str) -> Stored:
        counts = self._known(shard).counts
        return Stored(sorted(counts.posts), sorted(counts.mentions))

    async def posts(self, shard: str, buckets: Sequence[Bucket]) -> list[Posts]:
        return [self._known(shard).counts.posts.get(bucket, Posts()) for bucket in buckets]

    async def mentions(self, shard: str, buckets: Sequence[Bucket]) -> list[Cells]:
        return [self._known(shard).counts.mentions.get(bucket, {}) for bucket in buckets]

    async def form_counts(self, shard: str, buckets: Sequence[Bucket]) -> list[FormCounts]:
        found = [self._known(shard).counts.forms.get(bucket, Forms()) for bucket in buckets]
        return [FormCounts({form: _mentions(cells) for form, cells in one.cells.items()}, one.lost) for one in found]

    async def forms(self, shard: str, buckets: Sequence[Bucket], names: Sequence[str]) -> list[Forms]:
        found = [self._known(shard).counts.forms.get(bucket, Forms()) for bucket in buckets]
        return [Forms({form: one.cells[form] for form in names if form in one.cells}, one.lost) for one in found]


def _mentions(cells: Cells) -> int:
    """How many mentions."""
    return sum(measures.analysed for measures in cells.values())


def _evict(forms: Forms, limit: int) -> None:
    """Lossy counting; the same as `evict_forms` in `sums.lua`."""
    if len(forms.cells) <= limit:
        return
    ranked = sorted((_mentions(cells), form) for form, cells in forms.cells.items())
    gone = ranked[: len(ranked) - math.ceil(limit / 2)]
    forms.lost += gone[-1][0]
    for _, form in gone:
        del forms.cells[form]
