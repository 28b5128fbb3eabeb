"""A store in this process's memory, with the semantics of the one in Redis: for tests, and nothing to install.

It forgets no guard bits and keeps expired buckets; both only matter over days.
"""

from __future__ import annotations

import math
import secrets
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace

from worker.events import SourcePosition
from worker.opinion.authors import author_hash
from worker.opinion.cells import Bucket, Cell, Outcome, Retention, Sample
from worker.opinion.counts import Counts
from worker.opinion.increments import increments
from worker.opinion.reader import Cells, Details, FormCounts, Forms, Posts, Stored, authors_by_form
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
        self._authors_limit, self._fine_authors_limit = settings.authors_per_window, settings.authors_per_minute
        key = settings.author_key.get_secret_value().encode() if settings.author_key else secrets.token_bytes(32)
        self._author_hash = author_hash(key)
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
                added = increments(outcome, self._retention, now_ms)
                counts.count(outcome, replace(added, author=self._author_hash(added.author)))
        if first:
            counts.totals["applied_ms"] = max(counts.totals["applied_ms"], now_ms)
        self._evict(counts)
        return Applied(first, len(outcomes) - first)

    def _evict(self, counts: Counts) -> None:
        """Keep what is counted by name within its limits."""
        for bucket, forms in counts.forms.items():
            for form in _evict(forms, self._forms_limit):
                if bucket in counts.details:
                    counts.details[bucket].form_samples.pop(form, None)
        for bucket, details in counts.details.items():
            limit = self._authors_limit if bucket.level == "hour" else self._fine_authors_limit
            _evict(details.authors, limit)
            _evict(details.mention_authors, limit)

    def _move(self, shard: str, data: _Shard, consumed: Consumed) -> None:
        """Check the expected position and store the next one."""
        place = (consumed.topic, consumed.partition)
        stored = data.positions.get(place)
        expected = consumed.expected_offset
        if expected is not None and (stored is None or stored < expected):
            raise position_lost(shard, consumed, -1 if stored is None else stored)
        data.positions[place] = max(consumed.next_offset, -1 if stored is None else stored)

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

    async def generations(self) -> dict[str, str]:
        return dict.fromkeys(self._shards, "")

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

    async def authors(self, shard: str, buckets: Sequence[Bucket]) -> list[Forms]:
        return [self._details(shard, bucket).authors for bucket in buckets]

    async def mention_authors(
        self, shard: str, buckets: Sequence[Bucket], forms: Sequence[str]
    ) -> list[dict[str, Forms]]:
        return [authors_by_form(self._details(shard, bucket).mention_authors, forms) for bucket in buckets]

    async def samples(self, shard: str, hours: Sequence[Bucket]) -> list[dict[Cell, list[Sample]]]:
        return [self._details(shard, hour).samples for hour in hours]

    async def form_samples(self, shard: str, hours: Sequence[Bucket], form: str) -> list[list[Sample]]:
        return [self._details(shard, hour).form_samples.get(form, []) for hour in hours]

    def _details(self, shard: str, bucket: Bucket) -> Details:
        return self._known(shard).counts.details.get(bucket, Details())


def _mentions(cells: Cells) -> int:
    """How many mentions."""
    return sum(measures.analysed for measures in cells.values())


def _evict(named: Forms, limit: int) -> list[str]:
    """Lossy counting; the same as `evict` in `names.lua`."""
    if len(named.cells) <= limit:
        return []
    ranked = sorted((_mentions(cells), name) for name, cells in named.cells.items())
    gone = ranked[: len(ranked) - math.ceil(limit / 2)]
    named.lost += gone[-1][0]
    for _, name in gone:
        del named.cells[name]
    return [name for _, name in gone]
