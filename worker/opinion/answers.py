"""What queries ask and answer: plain frozen values, ready for a dashboard or JSON."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal

from worker.opinion.cells import NOTHING, Bucket, Cell, Level, Measures

Dimension = Literal["source_class", "language", "topic", "model_version"]
Counting = Literal["each_story_once", "all_copies"]
"""What opinion is, and how far it reaches."""


@dataclass(frozen=True, slots=True)
class Window:
    """A stretch of event time, widened to whole buckets of a level.

    Args:
        level: the width of the buckets.
        start: aware; in the first bucket.
        end: aware; not after the end of the last bucket.
        sum_of: a series has a point for each bucket, which sums up so many buckets, the last of which it is: a sliding
            window of an hour by the minute is 60 of level `minute`.
    """

    level: Level
    start: datetime
    end: datetime
    sum_of: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Where:
    """Which cells count; None is all.

    Args:
        entity: an id of the alias table: its mentions count instead of posts, each with its own sentiment, or with its
            post's where the model gave it none. Entities are not counted by topic.
    """

    source_class: str | None = None
    language: str | None = None
    topic: str | None = None
    model_version: str | None = None
    entity: str | None = None

    def takes(self, cell: Cell) -> bool:
        """Whether a cell counts."""
        wanted = (self.source_class, self.language, self.topic, self.model_version)
        return all(want is None or want == found for want, found in zip(wanted, cell[:4], strict=True))


EVERYTHING = Where()


@dataclass(frozen=True, slots=True, kw_only=True)
class Completeness:
    """How much of a bucket is known. Of all posts of the bucket: a dead letter has no language or topic to filter by.

    Args:
        analysed: posts with an analysis, `abstained` and `resolved` among them.
        dead_lettered: by broker timestamp; stays when one is requeued.
        resolved: posts that had been dead letters.
        too_late: posts whose own bucket was forgotten when they came; by broker timestamp.
        copies: analysed posts that repeat a story.
        newest_event_ms: Unix milliseconds; None in an empty bucket.
        complete: the watermark has passed the bucket's end; what comes now is late.
    """

    analysed: int = 0
    abstained: int = 0
    dead_lettered: int = 0
    resolved: int = 0
    too_late: int = 0
    copies: int = 0
    newest_event_ms: int | None = None
    complete: bool = False

    @property
    def received(self) -> int:
        """Records of this bucket: each counts once, also one that was a dead letter before it was analysed."""
        return self.analysed + self.dead_lettered - self.resolved

    def plus(self, other: Completeness) -> Completeness:
        """Of two buckets together; complete when both are."""
        newest = [ms for ms in (self.newest_event_ms, other.newest_event_ms) if ms is not None]
        return Completeness(
            analysed=self.analysed + other.analysed,
            abstained=self.abstained + other.abstained,
            dead_lettered=self.dead_lettered + other.dead_lettered,
            resolved=self.resolved + other.resolved,
            too_late=self.too_late + other.too_late,
            copies=self.copies + other.copies,
            newest_event_ms=max(newest, default=None),
            complete=self.complete and other.complete,
        )


@dataclass(frozen=True, slots=True)
class Basis:
    """What an answer rests on: how complete its posts are, and the models that labelled what counted."""

    completeness: Completeness
    model_versions: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """One bucket of a series, or the sliding window that ends with it.

    Args:
        measures: all copies.
        each_story_once: without posts that repeat a story.
        missing_at_most: of an entity's series, how many mentions the approximate count can lack.
    """

    bucket: Bucket
    measures: Measures
    each_story_once: Measures
    model_versions: tuple[str, ...]
    completeness: Completeness
    missing_at_most: int = 0


@dataclass(frozen=True, slots=True)
class EntityCount:
    """An entity of the alias table and its mentions; `name` is what to show for its id."""

    id: str
    name: str
    measures: Measures


@dataclass(frozen=True, slots=True, kw_only=True)
class TopEntities:
    """The most mentioned entities of the alias table, most first.

    Args:
        mentions: of all entities in the window, `(other)` among them, exact.
        missing_at_most: how many mentions each of the counts, or an entity that is not listed, can lack.
    """

    entities: tuple[EntityCount, ...]
    mentions: Measures
    missing_at_most: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Totals:
    """Everything ever counted, over all partitions.

    received + requeued == analysed + dead_lettered + dead_lettered_again + superseded + tombstones.

    Args:
        received: records of the input topics; `requeued`: dead letters written to them again.
        superseded: outcomes whose original had been counted as analysed already.
        copies: analysed posts that repeat a story.
        too_late: posts and dead letters per level that came after the level forgot their bucket.
    """

    received: int = 0
    requeued: int = 0
    analysed: int = 0
    abstained: int = 0
    mentions: int = 0
    dead_lettered: int = 0
    dead_lettered_again: int = 0
    resolved: int = 0
    superseded: int = 0
    tombstones: int = 0
    copies: int = 0
    dead_letter_reasons: Mapping[str, int] = field(default_factory=dict)
    too_late: Mapping[str, int] = field(default_factory=dict)
    newest_event_ms: int | None = None


def total_of(cells: Mapping[Cell, Measures], where: Where, counting: Counting = "all_copies") -> Measures:
    """The sum of the cells that count."""
    total = NOTHING
    for cell, measures in cells.items():
        if where.takes(cell) and takes_copies(cell, counting):
            total = total.plus(measures)
    return total


def takes_copies(cell: Cell, counting: Counting) -> bool:
    """Whether a cell counts in a way of counting."""
    return counting == "all_copies" or not cell.copy
