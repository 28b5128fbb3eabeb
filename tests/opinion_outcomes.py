"""Outcomes for the tests of the opinion room, and what is compared of a store."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from worker.events import (
    EnrichedPost,
    Entity,
    ModelRef,
    Post,
    Probabilities,
    Sentiment,
    SourcePosition,
    Story,
    Timings,
    Topic,
)
from worker.opinion.cells import MENTION_LEVELS, POST_LEVELS, WIDTH_S, Bucket, Level, Outcome, Retention
from worker.opinion.increments import increments
from worker.opinion.reader import Reader
from worker.settings import Settings
from worker.timing import ManualClock

NOW_S = 4_000_000_000  # 2096-10-02 07:06:40 UTC: Redis expires by its own clock, so the tests' lies ahead
SHARD = "topic-a:0"
SCORES = {
    "negative": Probabilities(0.7, 0.2, 0.1),
    "neutral": Probabilities(0.2, 0.5, 0.3),
    "positive": Probabilities(0.05, 0.15, 0.8),
}


def clock() -> ManualClock:
    return ManualClock(now_s=float(NOW_S))


def settings(**overrides: object) -> Settings:
    return Settings(**overrides)  # type: ignore[arg-type]


def position(offset: int, shard: str = SHARD) -> SourcePosition:
    topic_id, _, partition = shard.rpartition(":")
    return SourcePosition("posts.social", topic_id, int(partition), offset)


@dataclass(frozen=True, kw_only=True)
class Words:
    """What a post says; the defaults are one English post about economy without entities."""

    at_s: float = NOW_S - 30
    language: str = "en"
    label: str = "positive"
    abstained: bool = False
    topic: str = "medtop:04000000"
    source_class: str = "social"
    model: str = "analyzer:1.0.0+aaaaaaaa"
    post_id: str | None = None
    author: str | None = None
    copy_of: str | None = None
    entities: Sequence[str | tuple[str, Probabilities]] = ()


def post(offset: int, words: Words | None = None, *, shard: str = SHARD, origin: int | None = None) -> Outcome:
    """An analysed outcome; its broker timestamp is the clock's."""
    words = words or Words()
    place = position(offset, shard)
    event_time = datetime.fromtimestamp(words.at_s, UTC)
    event = EnrichedPost(
        event_id=place.event_id,
        position=place,
        source_class=words.source_class,
        event_time=event_time,
        post=Post(
            id=words.post_id or f"post-{place.event_id}",
            source="test",
            published_at=event_time,
            text="words",
            author=words.author,
        ),
        language=words.language,
        language_confidence=0.9,
        sentiment=Sentiment(
            label=words.label,  # type: ignore[arg-type]
            confidence=0.8,
            probabilities=SCORES[words.label],
            abstained=words.abstained,
        ),
        topic=Topic(label=words.topic, name="a topic", confidence=0.9, probabilities={words.topic: 0.9}),
        entities=[_entity(entity) for entity in words.entities],
        model=ModelRef("analyzer", words.model),
        flags=[],
        timings=Timings(broker_ms=NOW_S * 1000, received_ms=0, analysed_ms=0),
        story=Story(words.copy_of or place.event_id, words.copy_of is not None),
    )
    of = None if origin is None else position(origin, shard)
    return Outcome(position=place, kind="analysed", broker_ms=NOW_S * 1000, origin=of, event=event)


def _entity(entity: str | tuple[str, Probabilities]) -> Entity:
    text, own = (entity, None) if isinstance(entity, str) else entity
    return Entity(type="ORG", text=text, start=0, end=max(1, len(text)), confidence=0.9, sentiment=own)


def dead(
    offset: int, *, reason: str = "not_json", shard: str = SHARD, origin: int | None = None, at_s: float = NOW_S
) -> Outcome:
    of = None if origin is None else position(origin, shard)
    return Outcome(
        position=position(offset, shard), kind="dead_lettered", broker_ms=int(at_s * 1000), origin=of, reason=reason
    )


def tombstone(offset: int, *, shard: str = SHARD) -> Outcome:
    return Outcome(position=position(offset, shard), kind="tombstone", broker_ms=NOW_S * 1000)


def buckets_around(level: Level) -> list[Bucket]:
    """The buckets of the three hours before the clock, and its own; days: yesterday and today."""
    width_s = WIDTH_S[level]
    first_s = (NOW_S - max(3 * 3600, width_s)) // width_s * width_s
    return [Bucket(level, start_s) for start_s in range(first_s, NOW_S + 1, width_s)]


async def exact_state(reader: Reader, shards: Iterable[str]) -> dict[Any, int]:
    """Every exact counter of some shards, zeros left out; `applied_ms` is no counter."""
    state: dict[Any, int] = {}
    for shard in shards:
        totals = await reader.totals(shard)
        state |= {(shard, name): value for name, value in totals.items() if name != "applied_ms"}
        for level in POST_LEVELS:
            buckets = buckets_around(level)
            for bucket, posts in zip(buckets, await reader.posts(shard, buckets), strict=True):
                state |= {(shard, bucket, name): value for name, value in posts.counts.items()}
                for cell, measures in posts.cells.items():
                    state |= {(shard, "post", bucket, cell, i): value for i, value in enumerate(measures)}
        for level in MENTION_LEVELS:
            buckets = buckets_around(level)
            for bucket, cells in zip(buckets, await reader.mentions(shard, buckets), strict=True):
                for cell, measures in cells.items():
                    state |= {(shard, "mention", bucket, cell, i): value for i, value in enumerate(measures)}
    return {key: value for key, value in state.items() if value}


def implied_state(outcomes: Sequence[Outcome], shard: str = SHARD) -> dict[Any, int]:
    """What first outcomes without requeued records imply, by another way of counting than the stores'."""
    retention, counts = Retention.of(settings()), Counter[Any]()
    newest: dict[Any, int] = {}
    for outcome in outcomes:
        added = increments(outcome, retention, NOW_S * 1000)
        counts[shard, "received"] += 1
        if outcome.kind == "tombstone":
            counts[shard, "tombstones"] += 1
        elif outcome.kind == "dead_lettered":
            counts[shard, "dead_lettered"] += 1
            counts[shard, f"dead_lettered:{outcome.reason}"] += 1
            counts.update((shard, bucket, "dead_lettered") for bucket in added.buckets)
        else:
            counts[shard, "analysed"] += 1
            counts[shard, "abstained"] += added.measures.abstained
            counts[shard, "mentions"] += len(added.mentions)
            counts[shard, "copies"] += int(outcome.event is not None and outcome.event.story.copy)
            newest[shard, "newest_event_ms"] = max(newest.get((shard, "newest_event_ms"), 0), added.at_ms)
            for bucket in added.buckets:
                counts.update({(shard, "post", bucket, added.cell, i): v for i, v in enumerate(added.measures)})
                key = (shard, bucket, "newest_event_ms")
                newest[key] = max(newest.get(key, 0), added.at_ms)
            for mention in added.mentions:
                for bucket in added.mention_buckets:
                    counts.update(
                        {(shard, "mention", bucket, added.cell, i): v for i, v in enumerate(mention.measures)}
                    )
    return {key: value for key, value in (dict(counts) | newest).items() if value}
