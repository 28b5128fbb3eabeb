"""What queries ask and answer: plain frozen values, ready for a dashboard or JSON."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal

from worker.opinion.cells import NOTHING, Bucket, Cell, Level, Measures

Dimension = Literal["source_class", "language", "topic", "model_version"]


@dataclass(frozen=True, slots=True)
class Window:
    """A stretch of event time, widened to whole buckets of a level.

    Args:
        level: the width of the buckets.
        start: aware; in the first bucket.
        end: aware; not after the end of the last bucket.
    """

    level: Level
    start: datetime
    end: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Where:
    """Which cells count; None is all.

    Args:
        entity: a surface form: its mentions count instead of posts. Forms are not counted by topic.
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


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """One bucket of a series.

    Args:
        missing_at_most: of an entity's series, how many mentions the approximate count can lack.
    """

    bucket: Bucket
    measures: Measures
    model_versions: tuple[str, ...]
    completeness: Completeness
    missing_at_most: int = 0


@dataclass(frozen=True, slots=True)
class EntityCount:
    """A surface form and its mentions."""

    form: str
    measures: Measures


@dataclass(frozen=True, slots=True, kw_only=True)
class TopEntities:
    """The most mentioned surface forms, most first.

    Args:
        mentions: of all entities in the window, exact.
        missing_at_most: how many mentions each of the counts, or a form that is not listed, can lack.
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
        expired: offsets of `enriched` and `dead-letters` that were gone before they were read.
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
    expired: int = 0
    dead_letter_reasons: Mapping[str, int] = field(default_factory=dict)
    too_late: Mapping[str, int] = field(default_factory=dict)
    newest_event_ms: int | None = None


def total_of(cells: Mapping[Cell, Measures], where: Where) -> Measures:
    """The sum of the cells that count."""
    total = NOTHING
    for cell, measures in cells.items():
        if where.takes(cell):
            total = total.plus(measures)
    return total
