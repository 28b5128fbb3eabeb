"""Windows read from the aggregates: each story once, completeness, and the entities that are mentioned most."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from datetime import UTC, datetime

from worker.alert_event import WindowCompleteness
from worker.alerts.windows import WindowRead, watermark_ms
from worker.opinion.answers import EVERYTHING, Where, Window
from worker.opinion.cells import WIDTH_S, Bucket, Cell, Level
from worker.opinion.index.tally import Tally
from worker.opinion.queries import Queries, Tallied
from worker.opinion.reader import Reader
from worker.opinion.shifts.words import Key, Span
from worker.opinion.steady import steady
from worker.settings import Settings
from worker.timing import Clock

FINE_S = 6 * WIDTH_S["hour"]
"""Longer stretches are read by the hour."""


class AggregateWindows:
    """See `Windows`. One author's weight in a window, or among an entity's mentions, is capped (see `Queries.tallies`).

    Args:
        reader: where the aggregates are.
        settings: the width of windows, which entities are watched, and how long minutes are kept.
        clock: the present.
    """

    def __init__(self, reader: Reader, settings: Settings, clock: Clock) -> None:
        self._reader = reader
        self._queries = Queries(reader, settings, clock)
        self._clock = clock
        self._level: Level = settings.alert_window
        self._entities = settings.alert_entities
        self._mentions_needed = settings.alert_min_posts
        self._fine_kept_s = settings.retention_minute_s

    async def settled_until_s(self, waiting: Collection[str]) -> int | None:
        totals = {shard: await self._reader.totals(shard) for shard in await self._reader.shards()}
        found_ms = watermark_ms(totals, waiting, self._clock.unix_ms())
        return None if found_ms is None else found_ms // 1000

    async def first_s(self) -> int | None:
        found = [await self._reader.buckets(shard) for shard in await self._reader.shards()]
        level = "hour" if self._level == "hour" else "minute"
        starts = [bucket.start_s for stored in found for bucket in stored.posts if bucket.level == level]
        return min(starts, default=None)

    async def read(self, span: Span) -> WindowRead:
        found = await self._queries.tallies(_window(self._level, span))
        return WindowRead(
            span=span,
            posts=_sum(found),
            entities=await steady(self._reader, lambda: self._mentioned(Bucket(self._level, span.start_s))),
            completeness=_completeness(found),
        )

    async def stretch(self, key: Key, span: Span) -> WindowRead:
        old = span.start_s < self._clock.unix_ms() // 1000 - self._fine_kept_s
        window = _window("hour" if old or span.end_s - span.start_s > FINE_S else self._level, span)
        where = Where(entity=key.values[0]) if key.kind == "entity" else EVERYTHING
        found = await self._queries.tallies(window, where)
        posts = _sum(found)
        return WindowRead(
            span=span,
            posts={} if key.kind == "entity" else posts,
            entities={key.values[0]: posts} if key.kind == "entity" else {},
            completeness=_completeness(found),
        )

    async def _mentioned(self, bucket: Bucket) -> dict[str, Mapping[Cell, Tally]]:
        """The mentions of the entities that have most."""
        if not self._entities:
            return {}
        counts: Counter[str] = Counter()
        for shard in await self._reader.shards():
            for named in await self._reader.form_counts(shard, [bucket]):
                counts.update(named.counts)
        enough = [(count, name) for name, count in counts.items() if count >= self._mentions_needed]
        most = sorted(enough, key=lambda each: (-each[0], each[1]))[: self._entities]
        return await self._queries.entity_tallies(bucket, [name for _, name in most]) if most else {}


def _window(level: Level, span: Span) -> Window:
    """The buckets of a span; of hours those that begin in it, or the one that it lies in."""
    width_s = WIDTH_S[level]
    first_s = -(-span.start_s // width_s) * width_s
    if first_s >= span.end_s:
        first_s -= width_s
    return Window(level, datetime.fromtimestamp(first_s, UTC), datetime.fromtimestamp(span.end_s, UTC))


def _sum(found: Iterable[Tallied]) -> dict[Cell, Tally]:
    """The tallies of several buckets together."""
    sums: dict[Cell, Tally] = {}
    for tallied in found:
        for cell, tally in tallied.cells.items():
            sums[cell] = sums.get(cell, Tally()).plus(tally)
    return sums


def _completeness(found: Iterable[Tallied]) -> WindowCompleteness:
    """How much is known of several buckets together."""
    each = [tallied.completeness for tallied in found]
    received = sum(one.received for one in each)
    analysed = sum(one.analysed for one in each)
    return WindowCompleteness(
        received=received,
        analysed=analysed,
        abstained=sum(one.abstained for one in each),
        dead_lettered=sum(one.dead_lettered for one in each),
        too_late=sum(one.too_late for one in each),  # of other windows, whose bucket was gone
        share=min(1.0, analysed / received) if received else 1.0,
    )
