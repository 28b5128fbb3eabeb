"""The words of the aggregates: outcomes, buckets, cells and their measures.

A cell is (source class, language, topic, model version) inside a bucket; a bucket is a UTC-aligned stretch of
event time. Measures are integers and sums, so that any order of adding gives the same.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, NamedTuple

from worker.events import EnrichedPost, SourcePosition
from worker.settings import DAY_S, Settings

OutcomeKind = Literal["analysed", "dead_lettered", "tombstone"]
Level = Literal["minute", "five_minutes", "hour", "day"]
Detail = Literal["authors", "mention_authors", "samples", "form_samples"]

WIDTH_S: dict[Level, int] = {"minute": 60, "five_minutes": 300, "hour": 3600, "day": DAY_S}
POST_LEVELS: tuple[Level, ...] = ("minute", "hour", "day")
MENTION_LEVELS: tuple[Level, ...] = ("five_minutes", "hour", "day")
DETAILS: dict[Level, tuple[Detail, ...]] = {
    "minute": ("authors",),
    "five_minutes": ("mention_authors",),
    "hour": ("authors", "mention_authors", "samples", "form_samples"),
}
"""Who wrote what, and where some of it can be read: what is kept of that in buckets of a level."""

MICROS = 1_000_000

OTHER = "(other)"
"""What has no key of its own, so that answers sum up to the whole and keys stay few."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What became of one input record, as read back from `enriched` or `dead-letters`.

    Args:
        position: the source position of the record.
        kind: `analysed` carries `event`; the other kinds do not.
        broker_ms: the broker's timestamp of the input record, Unix milliseconds.
        origin: on a requeued dead letter, the position of the original record.
        event: the value of the `enriched` record.
        reason: of a dead letter, its bounded code such as `not_json`.
    """

    position: SourcePosition
    kind: OutcomeKind
    broker_ms: int
    origin: SourcePosition | None = None
    event: EnrichedPost | None = None
    reason: str = ""

    @property
    def origin_offset(self) -> int | None:
        """The offset of the original record; None also for an origin in another partition or a recreated topic.

        Such a record counts as one of its own: what became of its origin is known only where that was counted.
        """
        if self.origin is None or self.origin.shard != self.position.shard:
            return None
        return self.origin.offset

    @property
    def original(self) -> SourcePosition:
        """The position whose guard bit tells whether the record was counted as analysed."""
        return self.position if self.origin is None or self.origin_offset is None else self.origin


class Cell(NamedTuple):
    """What the posts of one counter have in common, inside a bucket."""

    source_class: str
    language: str
    topic: str
    model_version: str
    copy: bool = False
    """Whether the posts repeat a story: each story once is the sum without such cells, all copies the sum of all."""

    @property
    def of_form(self) -> Cell:
        """Where an entity counts: by all but the topic, which would make frequent ones 20 times larger."""
        return self._replace(topic="")


class Measures(NamedTuple):
    """What is counted in a cell; all integers, all sums, so that any order of adding gives the same.

    A score is P(positive) - P(negative) in millionths, its square too. An abstained post or mention adds to
    `abstained` alone: without a label there is no opinion to sum.
    """

    negative: int = 0
    neutral: int = 0
    positive: int = 0
    abstained: int = 0
    score_micros: int = 0
    score_squares_micros: int = 0

    def plus(self, other: Measures) -> Measures:
        """The sum, field by field."""
        a, b, c, d, e, f = other  # spelled out: queries add hundreds of thousands
        return Measures(self[0] + a, self[1] + b, self[2] + c, self[3] + d, self[4] + e, self[5] + f)

    def minus(self, other: Measures) -> Measures:
        """What is left of a sum without one of its parts."""
        a, b, c, d, e, f = other
        return Measures(self[0] - a, self[1] - b, self[2] - c, self[3] - d, self[4] - e, self[5] - f)

    @property
    def without_scores(self) -> Measures:
        """The labels alone, which is all that an author's weight is computed from."""
        return self._replace(score_micros=0, score_squares_micros=0)

    @property
    def net_sentiment(self) -> float | None:
        """Share of positive minus share of negative labels, -1 to 1; None without labels."""
        return (self.positive - self.negative) / self.labelled if self.labelled else None

    @property
    def mean_score(self) -> float | None:
        """Mean of P(positive) - P(negative), -1 to 1; None without labels."""
        return self.score_micros / MICROS / self.labelled if self.labelled else None

    @property
    def labelled(self) -> int:
        """How many have a label."""
        return self.negative + self.neutral + self.positive

    @property
    def analysed(self) -> int:
        """How many were analysed, with a label or not."""
        return self.labelled + self.abstained


LABELS = ("negative", "neutral", "positive", "abstained")
"""The first four measures, of which one post counts in one."""

NOTHING = Measures()


class Bucket(NamedTuple):
    """A stretch of event time; `start_s` in Unix seconds, a multiple of the level's width."""

    level: Level
    start_s: int

    @property
    def end_s(self) -> int:
        """The first second after it."""
        return self.start_s + WIDTH_S[self.level]


class Mention(NamedTuple):
    """One mention; `form` is the id of its entity, "" for `(other)`."""

    form: str
    measures: Measures


class Sample(NamedTuple):
    """One post of a sample: those with the lowest priorities of all that were counted, in any order of counting.

    Args:
        priority: the first 32 bits of the event id, which is a hash.
        offset: of the original record in the source partition.
        label: its sentiment there: negative, neutral, positive or abstained.
    """

    priority: int
    offset: int
    label: str


@dataclass(frozen=True, slots=True)
class Retention:
    """How long what is kept: the buckets of each level after their end, authors and samples, and what tells repeats."""

    levels_s: dict[Level, int]
    records_s: int
    details_s: int

    @classmethod
    def of(cls, settings: Settings) -> Retention:
        """The retentions that are configured."""
        levels_s: dict[Level, int] = {
            "minute": settings.retention_minute_s,
            "five_minutes": settings.retention_minute_s,
            "hour": settings.retention_hour_s,
            "day": settings.retention_day_s,
        }
        return cls(levels_s, settings.guard_retention_s, settings.retention_details_s)

    def expires_at_s(self, bucket: Bucket) -> int:
        """When a bucket is forgotten, Unix seconds."""
        return bucket.end_s + self.levels_s[bucket.level]

    def details_expire_at_s(self, bucket: Bucket) -> int:
        """When the authors and samples of a bucket are forgotten, Unix seconds."""
        return bucket.end_s + min(self.details_s, self.levels_s[bucket.level])
