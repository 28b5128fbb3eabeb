"""Sums over the shards, bucket by bucket: what every query is made of. Marginals are sums of cells."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import fields

from worker.opinion.answers import EVERYTHING, Completeness, Totals, Where, Window, total_of
from worker.opinion.cells import NOTHING, WIDTH_S, Bucket, Cell, Level, Measures, Retention
from worker.opinion.reader import Cells, Forms, Posts, Reader
from worker.settings import Settings
from worker.timing import Clock

IDLE_MS = 120_000
"""A partition without outcomes for this long does not hold the watermark back."""


class Sums:
    """Reads buckets, summed over the shards.

    Args:
        reader: where the aggregates are.
        settings: retentions: buckets beyond them are not asked for.
        clock: the present.
    """

    def __init__(self, reader: Reader, settings: Settings, clock: Clock) -> None:
        self.reader = reader
        self._retention = Retention.of(settings)
        self._clock = clock

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
        return await asyncio.gather(*(self.reader.totals(shard) for shard in await self.reader.shards()))

    def buckets(self, window: Window) -> list[Bucket]:
        """The buckets of a window that are not forgotten, those before it that its first sum takes too."""
        width_s = WIDTH_S[window.level]
        oldest_s = self._clock.unix_ms() // 1000 - self._retention.levels_s[window.level] - width_s
        start_s = int(window.start.timestamp()) - (window.sum_of - 1) * width_s
        first_s = max(start_s, oldest_s + 1) // width_s * width_s
        return [Bucket(window.level, start_s) for start_s in range(first_s, _ceil_s(window), width_s)]

    def details_kept(self, bucket: Bucket) -> bool:
        """Whether authors and samples of a bucket are still there."""
        return self._retention.details_expire_at_s(bucket) * 1000 > self._clock.unix_ms()

    async def posts(self, buckets: Sequence[Bucket]) -> list[Posts]:
        """The posts of each bucket over all shards; five minutes are five buckets of one."""
        if buckets and buckets[0].level == "five_minutes":
            found = await self.posts([minute for bucket in buckets for minute in parts_of(bucket, "minute")])
            return [merge_posts(found[start : start + 5]) for start in range(0, len(found), 5)]
        per_shard = [await self.reader.posts(shard, buckets) for shard in await self.reader.shards()]
        return [merge_posts(found) for found in zip(*per_shard, strict=True)] or [Posts() for _ in buckets]

    async def forms(self, buckets: Sequence[Bucket], names: Sequence[str]) -> list[Forms]:
        """Some entities in each bucket over all shards."""
        per_shard = [await self.reader.forms(shard, buckets, names) for shard in await self.reader.shards()]
        return [merge_forms(found) for found in zip(*per_shard, strict=True)] or [Forms() for _ in buckets]

    async def authors(self, buckets: Sequence[Bucket]) -> list[Forms]:
        """What each author wrote in each bucket over all shards."""
        per_shard = [await self.reader.authors(shard, buckets) for shard in await self.reader.shards()]
        return [merge_forms(found) for found in zip(*per_shard, strict=True)] or [Forms() for _ in buckets]

    async def mention_authors(self, buckets: Sequence[Bucket], forms: Sequence[str]) -> list[dict[str, Forms]]:
        """How often each author mentioned some forms in each bucket over all shards, by form."""
        shards = await self.reader.shards()
        per_shard = [await self.reader.mention_authors(shard, buckets, forms) for shard in shards]
        each = zip(*per_shard, strict=True) if shards else ((),) * len(buckets)
        return [{form: merge_forms(part[form] for part in found) for form in forms} for found in each]


def parts_of(bucket: Bucket, level: Level) -> list[Bucket]:
    """The buckets of a level that one consists of; none for a part of such a bucket."""
    width_s = WIDTH_S[level]
    if WIDTH_S[bucket.level] < width_s:
        return []
    return [Bucket(level, start_s) for start_s in range(bucket.start_s, bucket.end_s, width_s)]


def require_mentions(buckets: Sequence[Bucket], where: Where) -> None:
    """Refuse to ask for entities in a way in which they are not counted."""
    if buckets and buckets[0].level == "minute":
        raise ValueError("mentions are counted by five_minutes, hour and day, not by the minute")
    if where.topic is not None:
        raise ValueError("entities are counted by source class, language and model version, not by topic")


def _ceil_s(window: Window) -> int:
    """The end in whole seconds, rounded up."""
    return -int(-window.end.timestamp() // 1)


def add_cells(into: Cells, cells: Mapping[Cell, Measures]) -> None:
    """Add cells to cells."""
    for cell, measures in cells.items():
        into[cell] = into.get(cell, NOTHING).plus(measures)


def merge_posts(parts: Iterable[Posts]) -> Posts:
    """The sum of several shards or buckets."""
    merged = Posts()
    for part in parts:
        add_cells(merged.cells, part.cells)
        for name, value in part.counts.items():
            before = merged.counts.get(name)
            if name == "newest_event_ms":
                merged.counts[name] = value if before is None else max(before, value)
            else:
                merged.counts[name] = value + (before or 0)
    return merged


def merge_forms(parts: Iterable[Forms]) -> Forms:
    """The sum of several shards or buckets: what a name can lack in them adds up."""
    merged = Forms()
    for part in parts:
        add_forms(merged, part)
    return merged


def add_forms(into: Forms, part: Forms) -> None:
    """Add what is counted by name to what is."""
    into.lost += part.lost
    for form, cells in part.cells.items():
        add_cells(into.cells.setdefault(form, {}), cells)


def take_forms(off: Forms, part: Forms) -> None:
    """Take what was added off again: integers, so nothing of it stays."""
    off.lost -= part.lost
    for form, cells in part.cells.items():
        left = {cell: measures.minus(cells.get(cell, NOTHING)) for cell, measures in off.cells[form].items()}
        off.cells[form] = {cell: measures for cell, measures in left.items() if measures.analysed}
        if not off.cells[form]:
            del off.cells[form]


def completeness_of(posts: Posts) -> Completeness:
    """How much of a bucket is known, but for whether the watermark has passed it."""
    total, counts = total_of(posts.cells, EVERYTHING), posts.counts
    return Completeness(
        analysed=total.analysed,
        abstained=total.abstained,
        dead_lettered=counts.get("dead_lettered", 0),
        resolved=counts.get("resolved", 0),
        too_late=counts.get("too_late", 0),
        copies=sum(measures.analysed for cell, measures in posts.cells.items() if cell.copy),
        newest_event_ms=counts.get("newest_event_ms"),
    )


def _named(sums: Counter[str], prefix: str) -> dict[str, int]:
    """The counters `<prefix><name>` by name."""
    return {name.removeprefix(prefix): value for name, value in sorted(sums.items()) if name.startswith(prefix)}
