"""Reads the aggregates back: series, breakdowns, top entities, totals. Sums the shards; marginals are sums of cells."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import fields

from worker.opinion.answers import (
    EVERYTHING,
    Completeness,
    Dimension,
    EntityCount,
    Point,
    TopEntities,
    Totals,
    Where,
    Window,
    total_of,
)
from worker.opinion.cells import NOTHING, WIDTH_S, Bucket, Measures, Retention
from worker.opinion.increments import form_of
from worker.opinion.reader import Cells, Forms, Posts, Reader
from worker.settings import Settings
from worker.timing import Clock, SystemClock

IDLE_MS = 120_000
"""A partition without outcomes for this long does not hold the watermark back."""


class Queries:
    """Typed answers from a store.

    Args:
        reader: where the aggregates are.
        settings: retentions: buckets beyond them are not asked for.
        clock: the present.
    """

    def __init__(self, reader: Reader, settings: Settings, clock: Clock | None = None) -> None:
        self._reader = reader
        self._retention = Retention.of(settings)
        self._clock = clock or SystemClock()

    async def series(self, window: Window, where: Where = EVERYTHING) -> list[Point]:
        """One point per bucket that is still kept, oldest first, empty ones included.

        Args:
            window: minute, five_minutes, hour or day; for an entity five_minutes, hour or day.
            where: posts of these cells, or mentions of `where.entity`.

        Raises:
            ValueError: mentions by the minute, or of an entity by topic.
        """
        buckets = self._buckets(window)
        posts = await self._posts(buckets)
        counted = [found.cells for found in posts]
        lost = [0] * len(buckets)
        if where.entity is not None:
            _require_mentions(buckets, where)
            form = form_of(where.entity)
            found = await self._forms(buckets, [form])
            counted = [one.cells.get(form, {}) for one in found]
            lost = [one.lost for one in found]
        watermark_ms = await self.watermark_ms()
        return [
            Point(
                bucket=bucket,
                measures=total_of(cells, where),
                model_versions=tuple(sorted({cell.model_version for cell in cells if where.takes(cell)})),
                completeness=_completeness(of_posts, complete=(watermark_ms or 0) >= bucket.end_s * 1000),
                missing_at_most=missing,
            )
            for bucket, cells, of_posts, missing in zip(buckets, counted, posts, lost, strict=True)
        ]

    async def breakdown(
        self, window: Window, by: Sequence[Dimension], where: Where = EVERYTHING
    ) -> dict[tuple[str, ...], Measures]:
        """The posts of a window by one or more dimensions, such as ("language", "topic"); most posts first.

        Raises:
            ValueError: an entity in `where`: its mentions are in `series`.
        """
        if where.entity is not None:
            raise ValueError("a breakdown counts posts; ask series() for the mentions of an entity")
        groups: dict[tuple[str, ...], Measures] = {}
        for found in await self._posts(self._buckets(window)):
            for cell, measures in found.cells.items():
                if where.takes(cell):
                    group = tuple(getattr(cell, dimension) for dimension in by)
                    groups[group] = groups.get(group, NOTHING).plus(measures)
        return dict(sorted(groups.items(), key=lambda item: (-item[1].analysed, item[0])))

    async def top_entities(self, window: Window, n: int, where: Where = EVERYTHING) -> TopEntities:
        """The `n` surface forms with most mentions, by their counts summed over shards and buckets.

        Raises:
            ValueError: by the minute, or by topic.
        """
        buckets = self._buckets(window)
        _require_mentions(buckets, where)
        counts: Counter[str] = Counter()
        missing, mentions = 0, NOTHING
        for shard in await self._reader.shards():
            for named in await self._reader.form_counts(shard, buckets):
                counts.update(named.counts)
                missing += named.lost
            for of_bucket in await self._reader.mentions(shard, buckets):
                mentions = mentions.plus(total_of(of_bucket, where))
        # Unfiltered, the cells of the winners are enough; with a filter, anybody may win.
        names = [form for form, _ in sorted(counts.items(), key=lambda item: (-item[1], item[0]))]
        sums = await self._sums_of_forms(buckets, names[:n] if where == EVERYTHING else names, where)
        ranked = sorted(sums.items(), key=lambda item: (-item[1].analysed, item[0]))
        top = tuple(EntityCount(form, measures) for form, measures in ranked[:n] if measures.analysed)
        return TopEntities(entities=top, mentions=mentions, missing_at_most=missing)

    async def _sums_of_forms(
        self, buckets: Sequence[Bucket], names: Sequence[str], where: Where
    ) -> dict[str, Measures]:
        """What some forms add up to in a window."""
        sums: dict[str, Measures] = {}
        for found in await self._forms(buckets, names):
            for form, cells in found.cells.items():
                sums[form] = sums.get(form, NOTHING).plus(total_of(cells, where))
        return sums

    async def totals(self) -> Totals:
        """Everything ever counted."""
        sums: Counter[str] = Counter()
        newest: list[int] = []
        for found in await self._all_totals():
            sums.update(found)
            if "newest_event_ms" in found:
                newest.append(found["newest_event_ms"])
        single = {one.name for one in fields(Totals)} - {"dead_letter_reasons", "too_late", "newest_event_ms"}
        return Totals(
            **{name: sums[name] for name in single},
            dead_letter_reasons=_named(sums, "dead_lettered:"),
            too_late=_named(sums, "too_late:"),
            newest_event_ms=max(newest, default=None),
        )

    async def watermark_ms(self) -> int | None:
        """The event time that every busy partition has reached, Unix milliseconds.

        The minimum over partitions of their newest event; one that is idle is left out, unless all are, in which
        case it is the newest event of all. None without any event.
        """
        now_ms = self._clock.unix_ms()
        newest = [
            (found["newest_event_ms"], now_ms - found["applied_ms"] > IDLE_MS)
            for found in await self._all_totals()
            if "newest_event_ms" in found
        ]
        busy = [event_ms for event_ms, idle in newest if not idle]
        return min(busy) if busy else max((event_ms for event_ms, _ in newest), default=None)

    async def _all_totals(self) -> list[dict[str, int]]:
        return await asyncio.gather(*(self._reader.totals(shard) for shard in await self._reader.shards()))

    def _buckets(self, window: Window) -> list[Bucket]:
        """The buckets of a window that are not forgotten."""
        width_s = WIDTH_S[window.level]
        oldest_s = self._clock.unix_ms() // 1000 - self._retention.levels_s[window.level] - width_s
        first_s = max(int(window.start.timestamp()), oldest_s + 1) // width_s * width_s
        return [Bucket(window.level, start_s) for start_s in range(first_s, _ceil_s(window), width_s)]

    async def _posts(self, buckets: Sequence[Bucket]) -> list[Posts]:
        """The posts of each bucket over all shards; five minutes are five buckets of one."""
        if buckets and buckets[0].level == "five_minutes":
            minutes = [
                Bucket("minute", bucket.start_s + offset_s) for bucket in buckets for offset_s in range(0, 300, 60)
            ]
            found = await self._posts(minutes)
            return [_merge_posts(found[start : start + 5]) for start in range(0, len(found), 5)]
        per_shard = [await self._reader.posts(shard, buckets) for shard in await self._reader.shards()]
        return [_merge_posts(found) for found in zip(*per_shard, strict=True)] or [Posts() for _ in buckets]

    async def _forms(self, buckets: Sequence[Bucket], names: Sequence[str]) -> list[Forms]:
        """Some surface forms in each bucket over all shards."""
        per_shard = [await self._reader.forms(shard, buckets, names) for shard in await self._reader.shards()]
        return [_merge_forms(found) for found in zip(*per_shard, strict=True)] or [Forms() for _ in buckets]


def _require_mentions(buckets: Sequence[Bucket], where: Where) -> None:
    """Refuse to ask for surface forms in a way in which they are not counted."""
    if buckets and buckets[0].level == "minute":
        raise ValueError("mentions are counted by five_minutes, hour and day, not by the minute")
    if where.topic is not None:
        raise ValueError("surface forms are counted by source class, language and model version, not by topic")


def _ceil_s(window: Window) -> int:
    """The end in whole seconds, rounded up."""
    return -int(-window.end.timestamp() // 1)


def _add_cells(into: Cells, cells: Cells) -> None:
    """Add cells to cells."""
    for cell, measures in cells.items():
        into[cell] = into.get(cell, NOTHING).plus(measures)


def _merge_posts(parts: Iterable[Posts]) -> Posts:
    """The sum of several shards or buckets."""
    merged = Posts()
    for part in parts:
        _add_cells(merged.cells, part.cells)
        for name, value in part.counts.items():
            before = merged.counts.get(name)
            if name == "newest_event_ms":
                merged.counts[name] = value if before is None else max(before, value)
            else:
                merged.counts[name] = value + (before or 0)
    return merged


def _merge_forms(parts: Iterable[Forms]) -> Forms:
    """The sum of several shards."""
    merged = Forms()
    for part in parts:
        merged.lost += part.lost
        for form, cells in part.cells.items():
            _add_cells(merged.cells.setdefault(form, {}), cells)
    return merged


def _completeness(posts: Posts, *, complete: bool) -> Completeness:
    """How much of a bucket is known."""
    total, counts = total_of(posts.cells, EVERYTHING), posts.counts
    return Completeness(
        analysed=total.analysed,
        abstained=total.abstained,
        dead_lettered=counts.get("dead_lettered", 0),
        resolved=counts.get("resolved", 0),
        too_late=counts.get("too_late", 0),
        copies=sum(measures.analysed for cell, measures in posts.cells.items() if cell.copy),
        newest_event_ms=counts.get("newest_event_ms"),
        complete=complete,
    )


def _named(sums: Counter[str], prefix: str) -> dict[str, int]:
    """The counters `<prefix><name>` by name."""
    return {name.removeprefix(prefix): value for name, value in sorted(sums.items()) if name.startswith(prefix)}
