"""Reads the aggregates back: the one typed module that dashboards use. Each method's module holds how."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from worker.opinion.answers import (
    EVERYTHING,
    Counting,
    Dimension,
    Point,
    TopEntities,
    Totals,
    Where,
    Window,
)
from worker.opinion.cells import Bucket, Cell, Measures
from worker.opinion.index.tally import Tally
from worker.opinion.queries import posts, ranking, series, tallies
from worker.opinion.queries.posts import PostRef, PostSample
from worker.opinion.queries.ranking import Asked, Mover, Movers, Voice, Voices
from worker.opinion.queries.sums import IDLE_MS, Sums
from worker.opinion.queries.tallies import Cap, Tallied
from worker.opinion.reader import Reader
from worker.opinion.steady import steady
from worker.settings import Settings
from worker.timing import Clock, SystemClock

__all__ = ["IDLE_MS", "Asked", "Mover", "Movers", "PostRef", "PostSample", "Queries", "Tallied", "Voice", "Voices"]


class Queries:
    """Typed answers from a store, each of one generation (`steady`).

    Args:
        reader: where the aggregates are.
        settings: retentions, and how much an author weighs.
        clock: the present.
        name_of: an entity's id to what people call it (`Aliases.name_of`); the id itself by default.
    """

    def __init__(
        self,
        reader: Reader,
        settings: Settings,
        clock: Clock | None = None,
        name_of: Callable[[str], str] = str,
    ) -> None:
        self._reader = reader
        self._sums = Sums(reader, settings, clock or SystemClock())
        self._name_of = name_of
        self._author_max_share = settings.author_max_share

    async def series(self, window: Window, where: Where = EVERYTHING) -> list[Point]:
        """One point per bucket that is still kept, oldest first, empty ones included; each story once and all copies.

        Args:
            window: minute, five_minutes, hour or day; for an entity five_minutes, hour or day. With `sum_of` sliding.
            where: posts of these cells, or mentions of `where.entity`.

        Raises:
            ValueError: mentions by the minute, or of an entity by topic.
        """
        return await steady(self._reader, lambda: series.series(self._sums, window, where))

    async def tallies(
        self, window: Window, where: Where = EVERYTHING, counting: Counting = "each_story_once"
    ) -> list[Tallied]:
        """The weighted labels of each bucket or sliding window by cell: what the index is computed from.

        No author weighs more than `POLYVOX_AUTHOR_MAX_SHARE` of the window (one post at least), and an author is one
        cluster; approximate, from bounded lists. Copies of a story are not clusters: count each once.

        Raises:
            ValueError: as `series`.
        """
        return await steady(
            self._reader, lambda: tallies.tallies(self._sums, window, where, Cap(counting, self._author_max_share))
        )

    async def entity_tallies(
        self, bucket: Bucket, entities: Sequence[str], counting: Counting = "each_story_once"
    ) -> dict[str, Mapping[Cell, Tally]]:
        """As `tallies`, of the mentions of several entities in one bucket; one without mentions is left out.

        Raises:
            ValueError: by the minute.
        """
        cap = Cap(counting, self._author_max_share)
        return await steady(self._reader, lambda: tallies.entity_tallies(self._sums, bucket, entities, cap))

    async def compare(self, window: Window, one: Where, other: Where) -> list[tuple[Point, Point]]:
        """The series of two keys, bucket by bucket.

        Raises:
            ValueError: as `series`.
        """

        async def both() -> list[list[Point]]:
            return [await series.series(self._sums, window, where) for where in (one, other)]

        return list(zip(*await steady(self._reader, both), strict=True))

    async def breakdown(
        self,
        window: Window,
        by: Sequence[Dimension],
        where: Where = EVERYTHING,
        counting: Counting = "all_copies",
    ) -> dict[tuple[str, ...], Measures]:
        """The posts of a window by one or more dimensions, such as ("language", "topic"); most posts first.

        Raises:
            ValueError: an entity in `where`: its mentions are in `series`.
        """
        return await steady(self._reader, lambda: ranking.breakdown(self._sums, window, by, where, counting))

    async def top_entities(
        self, window: Window, n: int, where: Where = EVERYTHING, counting: Counting = "all_copies"
    ) -> TopEntities:
        """The `n` entities with most mentions, by their counts summed over shards and buckets.

        Raises:
            ValueError: by the minute, or by topic.
        """
        found = await steady(self._reader, lambda: ranking.top_entities(self._sums, window, n, where, counting))
        named = tuple(replace(entity, name=self._name_of(entity.id)) for entity in found.entities)
        return replace(found, entities=named)

    async def share_of_voice(self, window: Window, asked: Asked, n: int = 10) -> Voices:
        """The `n` largest keys and `(other)` for all the rest, with their shares: they sum to 1, of nothing to 0.

        Raises:
            ValueError: as `top_entities` and `breakdown`.
        """
        return await steady(self._reader, lambda: ranking.share_of_voice(self._sums, window, asked, n))

    async def top_movers(self, before: Window, after: Window, asked: Asked, n: int = 10) -> Movers:
        """The `n` keys that moved most from one window to another, in volume or sentiment, beyond chance.

        Raises:
            ValueError: as `top_entities` and `breakdown`.
        """
        return await steady(self._reader, lambda: ranking.top_movers(self._sums, before, after, asked, n))

    async def drill_down(self, window: Window, where: Where = EVERYTHING, n: int = 20) -> PostSample:
        """Some posts of a window of hours or days, always the same: up to 8 of each cell, or of the form, in each hour.

        Empty beyond `POLYVOX_RETENTION_DETAILS_S`, and for minutes.

        Raises:
            ValueError: an entity with another filter.
        """
        return await steady(self._reader, lambda: posts.drill_down(self._sums, window, where, n))

    async def totals(self) -> Totals:
        """Everything ever counted."""
        return await steady(self._reader, self._sums.totals)

    async def watermark_ms(self) -> int | None:
        """The event time that every busy partition has reached, Unix milliseconds; see `Sums.watermark_ms`."""
        return await self._sums.watermark_ms()
