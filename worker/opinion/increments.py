"""From one outcome to what it adds to the aggregates: pure, integer, and the same for every store.

An analysed post adds its measures to one cell per level (minute, hour, day), and the measures of each mention to
one cell per level of mentions (5 minutes, hour, day). A dead letter has no event time that can be trusted: it
counts in the buckets of its broker timestamp.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from worker.events import EnrichedPost, Entity, Sentiment
from worker.opinion.cells import (
    DETAILS,
    MENTION_LEVELS,
    MICROS,
    NOTHING,
    OTHER,
    POST_LEVELS,
    WIDTH_S,
    Bucket,
    Cell,
    Level,
    Measures,
    Mention,
    Outcome,
    Retention,
)

NO_ENTITY = ""
"""The entity `(other)`: mentions without an id of the alias table have no key of their own."""
_UNDETERMINED = "und"
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND = timedelta(milliseconds=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Increments:
    """All that one outcome adds, once; every part of it commutes.

    Args:
        at_ms: the moment it counts for: event time, or a dead letter's broker timestamp.
        buckets: where the post or the dead letter counts, one per level that still keeps that moment.
        too_late: the levels that do not.
        late_buckets: buckets of the broker timestamp, which tell that a post came too late for its own.
        cell, measures, mentions, mention_buckets: of an analysed post only.
        author: as the publisher wrote it; stores keep a keyed hash of it.
        details: the buckets whose authors and samples (`DETAILS`) the post counts in: those that are still kept.
        priority: of the post in samples.
    """

    at_ms: int = 0
    buckets: tuple[Bucket, ...] = ()
    too_late: tuple[Level, ...] = ()
    late_buckets: tuple[Bucket, ...] = ()
    cell: Cell | None = None
    measures: Measures = NOTHING
    mentions: tuple[Mention, ...] = ()
    mention_buckets: tuple[Bucket, ...] = ()
    author: str = ""
    details: tuple[Bucket, ...] = ()
    priority: int = 0


def increments(outcome: Outcome, retention: Retention, now_ms: int) -> Increments:
    """What an outcome adds if it is the first one applied for its record.

    Args:
        outcome: a tombstone adds nothing here; stores count it in their totals.
        retention: a bucket that ended longer ago than this is too late.
        now_ms: the present, Unix milliseconds.

    Raises:
        ValueError: an analysed outcome without its event.
    """
    if outcome.kind == "tombstone":
        return Increments()
    if outcome.kind == "dead_lettered":
        buckets, too_late = _buckets(outcome.broker_ms, POST_LEVELS, retention, now_ms)
        return Increments(at_ms=outcome.broker_ms, buckets=buckets, too_late=too_late)
    if outcome.event is None:
        raise ValueError(f"the analysed outcome of {outcome.position} carries no event")
    return _of_post(outcome.event, outcome.broker_ms, retention, now_ms)


def _of_post(event: EnrichedPost, broker_ms: int, retention: Retention, now_ms: int) -> Increments:
    """What an analysed post adds."""
    event_ms = (event.event_time - _EPOCH) // _MILLISECOND
    buckets, too_late = _buckets(event_ms, POST_LEVELS, retention, now_ms)
    mention_buckets, mentions_too_late = _buckets(event_ms, MENTION_LEVELS, retention, now_ms)
    missed = set(too_late)
    at_broker = _buckets(broker_ms, POST_LEVELS, retention, now_ms)[0] if missed else ()
    measures = _of_sentiment(event.sentiment)
    return Increments(
        at_ms=event_ms,
        buckets=buckets,
        too_late=tuple(dict.fromkeys(too_late + mentions_too_late)),
        late_buckets=tuple(bucket for bucket in at_broker if bucket.level in missed),
        cell=_cell(event),
        measures=measures,
        mentions=tuple(Mention(entity.id or NO_ENTITY, _of_mention(entity, measures)) for entity in event.entities),
        mention_buckets=mention_buckets,
        author=event.post.author or "",
        details=_details((*buckets, *mention_buckets), retention, now_ms),
        priority=int(event.event_id[:8], 16),
    )


def _cell(event: EnrichedPost) -> Cell:
    """Where a post counts; one without a decision about its story, of an older version, counts as a first one."""
    is_copy = event.story is not None and event.story.copy
    return Cell(event.source_class, language_key(event.language), event.topic.label, event.model.version, is_copy)


def language_key(tag: str) -> str:
    """The language that a post counts under: a publisher's hint may be any of 8,000 tags, and cells must stay few.

    Tags of two letters (ISO 639-1, about 180), with a script or without, and `und` have keys of their own. Which do is
    fixed and not decided by who comes first, so that a rebuild gives the same cells.
    """
    return tag if len(tag.partition("-")[0]) == 2 or tag == _UNDETERMINED else OTHER


def _details(buckets: Iterable[Bucket], retention: Retention, now_ms: int) -> tuple[Bucket, ...]:
    """The buckets among those of a post that have details, unless these are forgotten; each once."""
    detailed = [bucket for bucket in dict.fromkeys(buckets) if bucket.level in DETAILS]
    return tuple(bucket for bucket in detailed if retention.details_expire_at_s(bucket) * 1000 > now_ms)


def _buckets(
    at_ms: int, levels: Iterable[Level], retention: Retention, now_ms: int
) -> tuple[tuple[Bucket, ...], tuple[Level, ...]]:
    """The buckets of a moment that are still kept, and the levels whose bucket is not."""
    kept, too_late = [], []
    at_s = at_ms // 1000
    for level in levels:
        bucket = Bucket(level, at_s - at_s % WIDTH_S[level])
        if retention.expires_at_s(bucket) * 1000 > now_ms:
            kept.append(bucket)
        else:
            too_late.append(level)
    return tuple(kept), tuple(too_late)


def _of_sentiment(sentiment: Sentiment) -> Measures:
    """The measures of one post."""
    if sentiment.abstained:
        return Measures(abstained=1)
    probabilities = sentiment.probabilities
    return _labelled(sentiment.label, probabilities.positive - probabilities.negative)


def _of_mention(entity: Entity, of_post: Measures) -> Measures:
    """The measures of one mention: its own sentiment, or the post's where it has none."""
    own = entity.sentiment
    if own is None:
        return of_post
    label = max(("negative", "neutral", "positive"), key=lambda name: float(getattr(own, name)))
    return _labelled(label, own.positive - own.negative)


def _labelled(label: str, score: float) -> Measures:
    """One count of a label and its score."""
    micros = round(score * MICROS)
    return Measures(
        negative=int(label == "negative"),
        neutral=int(label == "neutral"),
        positive=int(label == "positive"),
        score_micros=micros,
        score_squares_micros=(micros * micros + MICROS // 2) // MICROS,
    )
