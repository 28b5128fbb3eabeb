"""One verification of a deployment: what is read of Kafka and Redis, and in which order.

The order makes it safe beside a running worker: what is committed is read before the ends of the outputs, which hold
its outcomes by then; and so are the positions of the store, which lie before these ends.

Memory: about 160 bytes for each outcome in the logs (marks, ids of posts and originals), and what Redis holds of cells.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence

from worker.events import SourcePosition
from worker.feeds.lag import lag
from worker.feeds.stretch import Stretches, stretches
from worker.feeds.topics import topic_ids
from worker.opinion.client import Link
from worker.opinion.reader import RedisReader
from worker.opinion.store import AggregateStore
from worker.settings import Settings
from worker.stream.records import Routes, TopicPartition
from worker.timing import Clock
from worker.verify.audit import Audit, Due, Output, Place
from worker.verify.compare import Snapshot
from worker.verify.report import InputRange, Report
from worker.verify.snapshot import snapshot


def verify(settings: Settings, clock: Clock) -> Report:
    """Check promises 1 and 3 on what the logs still hold; runs no inference and writes nothing.

    Raises:
        BrokerUnavailable, StoreUnavailable: a server cannot be reached.
        ConfigInvalid: a topic is missing, or Redis is not polyvox'.
    """
    topics = [settings.dead_letters_topic, settings.enriched_topic]
    ids = topic_ids(settings)
    routes = Routes(settings.input_topics, ids, settings.enriched_topic, settings.dead_letters_topic, 0)
    due = _due(settings, ids)
    now_ms = clock.unix_ms()
    snapshots = asyncio.run(_snapshots(settings, {each.shard for each in due}))
    with stretches(settings) as log:
        outputs: dict[Place, Output] = {(span.topic, span.partition): Output(span) for span in log.spans(topics)}
        audit = Audit(settings, now_ms, snapshots, _places(due, topics, routes), outputs)
        for output in outputs.values():  # in the order of `topics`
            span = output.span
            for record in log.records(span.topic, span.partition, span.begin, span.end):
                audit.take(record)
        audit.settle(asyncio.run(_analysed(settings, audit.undecided())))
        inputs = [_input_range(audit, log, each) for each in due]
    return _report(audit, inputs, [each for each in due if each.committed == each.begin])


def _due(settings: Settings, ids: Mapping[str, str]) -> list[Due]:
    """What of each input partition must have outcomes: what the enrich stage has committed."""
    return [
        Due(
            found.topic,
            found.partition,
            f"{ids[found.topic]}:{found.partition}",
            found.begin,
            min(found.end, max(found.begin, found.committed or 0)),
            found.end,
        )
        for found in lag(settings)
        if found.stage == "enrich"
    ]


def _places(due: Sequence[Due], topics: Sequence[str], routes: Routes) -> dict[str, set[Place]]:
    """The output partitions of each shard."""
    return {
        each.shard: {(topic, routes.output_partition(TopicPartition(each.topic, each.partition))) for topic in topics}
        for each in due
    }


async def _snapshots(settings: Settings, shards: set[str]) -> dict[str, Snapshot | None]:
    link = Link.of(settings)
    store, reader = AggregateStore(link, settings), RedisReader(link)
    try:
        every = sorted(shards | set(await reader.shards()))
        return {shard: await snapshot(store, reader, shard) for shard in every}
    finally:
        await store.aclose()


async def _analysed(settings: Settings, positions: Sequence[SourcePosition]) -> dict[SourcePosition, bool]:
    if not positions:
        return {}
    store = AggregateStore.of(settings)
    try:
        return dict(zip(positions, await store.resolved(positions), strict=True))
    finally:
        await store.aclose()


def _input_range(audit: Audit, log: Stretches, due: Due) -> InputRange:
    found = (
        record
        for begin, end in audit.without_outcome(due)
        for record in log.records(due.topic, due.partition, begin, end)
    )
    return audit.input_range(due, found)


def _report(audit: Audit, inputs: Sequence[InputRange], idle: Sequence[Due]) -> Report:
    repeats, repeated = audit.repeats()
    waiting = [
        f"{each.topic}[{each.partition}]: nothing is committed of {each.end - each.begin}"
        for each in idle
        if each.end > each.begin
    ]
    return Report(
        inputs=inputs,
        outputs=audit.output_ranges(),
        counters=audit.counters,
        findings=audit.findings,
        wrong=dict(audit.wrong),
        repeats=repeats,
        repeated=repeated,
        unchecked=[*waiting, *audit.unchecked],
    )
