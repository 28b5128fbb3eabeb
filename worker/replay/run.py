"""One replay of a deployment, partition after partition: two generations of one partition at most."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass

from worker.errors import StoreUnavailable
from worker.feeds.stretch import Span, Stretches, stretches
from worker.feeds.topics import topic_ids
from worker.opinion.client import Link
from worker.opinion.days import Days
from worker.opinion.reader import RedisReader
from worker.opinion.staging import Staging
from worker.opinion.store import AggregateStore, Positions
from worker.replay.follow import Follower
from worker.replay.plan import Source, check_places, refuse_expired, written_since_ms
from worker.settings import Settings
from worker.stream.records import Routes, TopicPartition
from worker.timing import Clock
from worker.verify.audit import Place

Progress = Callable[[int, int], None]
"""Told the records that were read, and all that have to be as far as is known."""


@dataclass(frozen=True, slots=True)
class Rebuilt:
    """One partition after its swap.

    Args:
        outcomes: how many were counted; also those of other days, which the guard has to know.
        totals: whether the totals were rebuilt too.
        rounds: how often it caught up with the worker before nobody had counted meanwhile.
    """

    shard: str
    outcomes: int
    totals: bool
    rounds: int


@dataclass(frozen=True, slots=True)
class Replayed:
    """The outcome of one replay; `left_out` are partitions of topics that are no input topics any more."""

    days: Days
    partitions: Sequence[Rebuilt]
    left_out: Sequence[str]


def replay(settings: Settings, days: Days, clock: Clock, progress: Progress) -> Replayed:
    """Rebuild some days of all partitions of the input topics. Refuses before it changes any.

    Raises:
        ConfigInvalid: the days are not in the logs any more, a topic is missing, or Redis is not polyvox'.
        BrokerUnavailable, StoreUnavailable: a server cannot be reached, or Redis is full.
        PositionLost: Redis and the logs disagree, or another replay has begun.
        Transient: the worker counted on all the time.
    """
    return asyncio.run(_replay(settings, days, clock, progress))


async def _replay(settings: Settings, days: Days, clock: Clock, progress: Progress) -> Replayed:
    link = Link.of(settings)
    try:
        await link.check()
        store, shards = AggregateStore(link, settings, clock), await RedisReader(link).shards()
        positions = await store.positions(shards)
        with stretches(settings) as log:
            sources = _sources(settings, days, log, positions, clock.unix_ms() / 1000)
            counted = _Progress(progress, sum(_records(source, positions, settings) for source in sources))
            rebuilt = []
            async with second_generation(link, settings, days, clock) as staging:
                await staging.drop_others(shards)
                for source in sources:
                    follower = Follower(log, store, staging, settings, counted.add)
                    await follower.rebuild(source)
                    rebuilt.append(Rebuilt(source.shard, follower.outcomes, source.whole, follower.rounds))
        left_out = sorted(set(shards) - {source.shard for source in sources})
        return Replayed(days, rebuilt, left_out)
    finally:
        await link.aclose()


def _sources(settings: Settings, days: Days, log: Stretches, positions: Positions, now_s: float) -> list[Source]:
    """The partitions of the input topics that have ever counted, and where to begin; read after the positions."""
    topics = [settings.enriched_topic, settings.dead_letters_topic]
    ids = topic_ids(settings)
    routes = Routes(settings.input_topics, ids, settings.enriched_topic, settings.dead_letters_topic, 0)
    spans: dict[Place, Span] = {(span.topic, span.partition): span for span in log.spans(topics)}
    names, since_ms, sources = {id_: name for name, id_ in ids.items()}, written_since_ms(days, settings), []
    for shard, found in positions.items():
        topic_id, _, partition = shard.rpartition(":")
        if topic_id not in names or not found:
            continue
        output = routes.output_partition(TopicPartition(names[topic_id], int(partition)))
        check_places(shard, found, spans)
        places = found.keys() | {(topic, output) for topic in topics}
        refuse_expired(days, [spans[place] for place in sorted(places)], settings, now_s)
        start = {place: log.since(spans[place], since_ms) for place in places}
        sources.append(Source(shard, start, whole=not any(start.values())))
    return sources


def _records(source: Source, positions: Positions, settings: Settings) -> int:
    """How many records there are to read; dead letters are read twice."""
    return sum(
        max(0, end - source.start[place]) * (2 if place[0] == settings.dead_letters_topic else 1)
        for place, end in positions[source.shard].items()
    )


@asynccontextmanager
async def second_generation(link: Link, settings: Settings, days: Days, clock: Clock) -> AsyncIterator[Staging]:
    """Room for one; gone afterwards, since one that failed must not take the worker's memory."""
    staging = Staging(link, settings, days, clock)
    try:
        yield staging
    finally:
        with suppress(StoreUnavailable):  # it hides what went wrong; the next replay drops it
            await staging.drop()


class _Progress:
    """Sums up; what the worker counts meanwhile comes on top."""

    def __init__(self, progress: Progress, total: int) -> None:
        self._progress, self._total, self._done = progress, total, 0

    def add(self, records: int) -> None:
        """So many more records were read."""
        self._done += records
        self._progress(self._done, max(self._done, self._total))
