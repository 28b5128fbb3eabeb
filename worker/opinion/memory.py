"""A store in this process's memory, with the semantics of the one in Redis: for tests, and nothing to install.

It forgets no guard bits and keeps expired buckets; both only matter over days.
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from worker.events import SourcePosition
from worker.opinion.cells import NOTHING, Bucket, Cell, CopyKey, Measures, Outcome, Retention
from worker.opinion.increments import Increments, increments
from worker.opinion.reader import Cells, FormCounts, Forms, Posts
from worker.opinion.store import Applied, Consumed, Positions, position_lost, require_shard
from worker.settings import Settings
from worker.timing import Clock, SystemClock


@dataclass(slots=True)
class _Shard:
    """One source partition."""

    positions: dict[tuple[str, int], int] = field(default_factory=dict)
    seen: set[int] = field(default_factory=set)
    analysed: set[int] = field(default_factory=set)
    totals: Counter[str] = field(default_factory=Counter)
    copy_keys: set[CopyKey] = field(default_factory=set)
    posts: dict[Bucket, Posts] = field(default_factory=lambda: defaultdict(Posts))
    mentions: dict[Bucket, Cells] = field(default_factory=lambda: defaultdict(dict))
    forms: dict[Bucket, Forms] = field(default_factory=lambda: defaultdict(Forms))


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
        first = 0
        for outcome in outcomes:
            if outcome.position.offset not in data.seen:
                data.seen.add(outcome.position.offset)
                first += 1
                self._count(data, outcome)
        if first:
            data.totals["applied_ms"] = max(data.totals["applied_ms"], self._clock.unix_ms())
        for bucket in list(data.forms):
            _evict(data.forms[bucket], self._forms_limit)
        return Applied(first, len(outcomes) - first)

    async def add_gap(self, shard: str, consumed: Consumed) -> int:
        data = self._shards.setdefault(shard, _Shard())
        before = self._move(shard, data, consumed)
        expired = 0 if before is None else max(0, consumed.next_offset - before)
        if expired:
            data.totals["expired"] += expired
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

    def _count(self, data: _Shard, outcome: Outcome) -> None:
        """Count a first outcome; the same cases as `count_outcome` in `apply.lua`."""
        totals, origin = data.totals, outcome.origin_offset
        totals["received" if origin is None else "requeued"] += 1
        if outcome.kind == "tombstone":
            totals["tombstones"] += 1
            return
        if outcome.kind == "dead_lettered" and origin is not None:
            totals["dead_lettered_again"] += 1
            return
        original = outcome.position.offset if origin is None else origin
        if outcome.kind == "analysed" and original in data.analysed:
            totals["superseded"] += 1
            return
        added = increments(outcome, self._retention, self._clock.unix_ms())
        totals.update(f"too_late:{level}" for level in added.too_late)
        if added.cell is None:
            totals.update(("dead_lettered", f"dead_lettered:{outcome.reason}"))
            _count_in(data, added.buckets, "dead_lettered")
            return
        data.analysed.add(original)
        if origin is not None:
            totals["resolved"] += 1
            _count_in(data, added.buckets, "resolved")
        _count_post(data, added, added.cell)

    async def resolved(self, positions: Sequence[SourcePosition]) -> list[bool]:
        return [position.offset in self._known(position.shard).analysed for position in positions]

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
        return {name: value for name, value in self._known(shard).totals.items() if value}

    async def posts(self, shard: str, buckets: Sequence[Bucket]) -> list[Posts]:
        return [self._known(shard).posts.get(bucket, Posts()) for bucket in buckets]

    async def mentions(self, shard: str, buckets: Sequence[Bucket]) -> list[Cells]:
        return [self._known(shard).mentions.get(bucket, {}) for bucket in buckets]

    async def form_counts(self, shard: str, buckets: Sequence[Bucket]) -> list[FormCounts]:
        found = [self._known(shard).forms.get(bucket, Forms()) for bucket in buckets]
        return [FormCounts({form: _mentions(cells) for form, cells in one.cells.items()}, one.lost) for one in found]

    async def forms(self, shard: str, buckets: Sequence[Bucket], names: Sequence[str]) -> list[Forms]:
        found = [self._known(shard).forms.get(bucket, Forms()) for bucket in buckets]
        return [Forms({form: one.cells[form] for form in names if form in one.cells}, one.lost) for one in found]


def _count_in(data: _Shard, buckets: Iterable[Bucket], name: str) -> None:
    """Count one in each bucket."""
    for bucket in buckets:
        counts = data.posts[bucket].counts
        counts[name] = counts.get(name, 0) + 1


def _add(cells: Cells, cell: Cell, measures: Measures) -> None:
    """Add measures to a cell."""
    cells[cell] = cells.get(cell, NOTHING).plus(measures)


def _count_post(data: _Shard, added: Increments, cell: Cell) -> None:
    """Count an analysed post; the same as `count_post` in `apply.lua`."""
    totals = data.totals
    totals["analysed"] += 1
    totals["abstained"] += added.measures.abstained
    totals["mentions"] += len(added.mentions)
    totals["newest_event_ms"] = max(totals.get("newest_event_ms", added.at_ms), added.at_ms)
    for bucket in added.buckets:
        found = data.posts[bucket]
        _add(found.cells, cell, added.measures)
        found.counts["newest_event_ms"] = max(found.counts.get("newest_event_ms", added.at_ms), added.at_ms)
    _count_in(data, added.late_buckets, "too_late")
    for mention in added.mentions:
        for bucket in added.mention_buckets:
            _add(data.mentions[bucket], cell, mention.measures)
            if mention.form:
                _add(data.forms[bucket].cells.setdefault(mention.form, {}), cell.of_form, mention.measures)
    if added.copy_key in data.copy_keys:
        totals["copies"] += 1
        _count_in(data, (bucket for bucket in added.buckets if bucket.level == "day"), "copies")
    elif added.copy_key is not None:
        data.copy_keys.add(added.copy_key)


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
