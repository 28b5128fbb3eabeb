"""Windows read from the aggregates: each story once, completeness, and the entities that are mentioned most."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence

from worker.alert_event import WindowCompleteness
from worker.alerts.windows import WindowRead, watermark_ms
from worker.opinion.cells import WIDTH_S, Bucket, Cell, Level, Measures
from worker.opinion.index.tally import Tally
from worker.opinion.reader import Posts, Reader
from worker.opinion.shifts.words import Key, Span
from worker.settings import Settings
from worker.timing import Clock

HOUR_S = WIDTH_S["hour"]
FINE_S = 6 * HOUR_S
"""Longer stretches are read by the hour."""


class AggregateWindows:
    """See `Windows`.

    Args:
        reader: where the aggregates are.
        settings: which entities are watched, and how long minutes are kept.
        clock: the present.
    """

    def __init__(self, reader: Reader, settings: Settings, clock: Clock) -> None:
        self._reader = reader
        self._clock = clock
        self._entities = settings.alert_entities
        self._mentions_needed = settings.alert_min_posts
        self._fine_kept_s = settings.retention_minute_s

    async def settled_until_s(self, waiting: Collection[str]) -> int | None:
        totals = {shard: await self._reader.totals(shard) for shard in await self._reader.shards()}
        found_ms = watermark_ms(totals, waiting, self._clock.unix_ms())
        return None if found_ms is None else found_ms // 1000

    async def first_s(self) -> int | None:
        found = [await self._reader.buckets(shard) for shard in await self._reader.shards()]
        starts = [bucket.start_s for stored in found for bucket in stored.posts if bucket.level == "minute"]
        return min(starts, default=None)

    async def read(self, span: Span) -> WindowRead:
        posts = await self._posts(_buckets("minute", span))
        return WindowRead(
            span=span,
            posts=_tallies(found.cells for found in posts),
            entities=await self._mentioned(_buckets("five_minutes", span)),
            completeness=_completeness(posts),
        )

    async def stretch(self, key: Key, span: Span) -> WindowRead:
        coarse = span.end_s - span.start_s > FINE_S or self._is_old(span)
        posts = await self._posts(_buckets("hour" if coarse else "minute", span))
        entities: Mapping[str, Mapping[Cell, Tally]] = {}
        if key.kind == "entity":
            entities = await self._named(_buckets("hour" if coarse else "five_minutes", span), key.values)
        return WindowRead(
            span=span,
            posts=_tallies(found.cells for found in posts),
            entities=entities,
            completeness=_completeness(posts),
        )

    def _is_old(self, span: Span) -> bool:
        """Whether its minutes are forgotten."""
        return span.start_s < self._clock.unix_ms() // 1000 - self._fine_kept_s

    async def _posts(self, buckets: Sequence[Bucket]) -> list[Posts]:
        return [found for shard in await self._reader.shards() for found in await self._reader.posts(shard, buckets)]

    async def _mentioned(self, buckets: Sequence[Bucket]) -> dict[str, dict[Cell, Tally]]:
        """The entities with most mentions."""
        if not self._entities:
            return {}
        counts: Counter[str] = Counter()
        for shard in await self._reader.shards():
            for named in await self._reader.form_counts(shard, buckets):
                counts.update(named.counts)
        enough = [(count, name) for name, count in counts.items() if count >= self._mentions_needed]
        most = sorted(enough, key=lambda each: (-each[0], each[1]))[: self._entities]
        return await self._named(buckets, [name for _, name in most])

    async def _named(self, buckets: Sequence[Bucket], names: Sequence[str]) -> dict[str, dict[Cell, Tally]]:
        """The mentions of some entities."""
        found: dict[str, list[Mapping[Cell, Measures]]] = {name: [] for name in names}
        for shard in await self._reader.shards() if names else ():
            for forms in await self._reader.forms(shard, buckets, names):
                for name, cells in forms.cells.items():
                    found[name].append(cells)
        return {name: _tallies(parts) for name, parts in found.items() if parts}


def _buckets(level: Level, span: Span) -> list[Bucket]:
    """The buckets of a span; those of hours are the ones that begin in it, or the one that it lies in."""
    width_s = WIDTH_S[level]
    first_s = -(-span.start_s // width_s) * width_s
    if first_s >= span.end_s:
        first_s -= width_s
    return [Bucket(level, start_s) for start_s in range(first_s, span.end_s, width_s)]


def _tallies(parts: Iterable[Mapping[Cell, Measures]]) -> dict[Cell, Tally]:
    """The sums of several shards and buckets, each story once; posts are clusters of their own."""
    found: dict[Cell, Tally] = {}
    for cells in parts:
        for cell, measures in cells.items():
            if cell.copy:
                continue
            negative, neutral, positive, abstained = map(float, measures[:4])
            tally = Tally(negative, neutral, positive, abstained, float(measures.analysed))
            found[cell] = found.get(cell, Tally()).plus(tally)
    return found


def _completeness(posts: Iterable[Posts]) -> WindowCompleteness:
    """How much of a stretch is known, over all shards and buckets."""
    counts: Counter[str] = Counter()
    for found in posts:
        for measures in found.cells.values():
            counts["analysed"] += measures.analysed
            counts["abstained"] += measures.abstained
        for name in ("dead_lettered", "resolved", "too_late"):
            counts[name] += found.counts.get(name, 0)
    received = counts["analysed"] + counts["dead_lettered"] - counts["resolved"] + counts["too_late"]
    return WindowCompleteness(
        received=received,
        analysed=counts["analysed"],
        abstained=counts["abstained"],
        dead_lettered=counts["dead_lettered"],
        too_late=counts["too_late"],
        share=min(1.0, counts["analysed"] / received) if received else 1.0,
    )
