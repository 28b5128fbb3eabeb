"""Reading a topic's log by hand: where it ends, a stretch of it, or all of it as it grows."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from difflib import get_close_matches

from kafka import KafkaConsumer, TopicPartition
from kafka.consumer.fetcher import ConsumerRecord

from worker.errors import BrokerUnavailable, ConfigInvalid
from worker.timing import Deadline, SystemClock

SILENCE_LIMIT_S = 10.0
"""A broker that says nothing for so long, where an answer is due, counts as away."""

POLL_MS = 200
"""How long one poll waits; also how fast a reader notices that it should stop."""

TOPICS_NAMED = 10
"""Topics that the error for an unknown one names, at most."""


@dataclass(frozen=True, slots=True)
class Record:
    """A record as it stands in a topic; `value` is None for a tombstone."""

    topic: str
    partition: int
    offset: int
    timestamp_ms: int
    key: bytes | None
    value: bytes | None
    headers: tuple[tuple[str, bytes], ...]


def partitions_of(client: KafkaConsumer, topic: str) -> list[TopicPartition]:
    """All partitions of a topic, in order.

    Raises:
        ConfigInvalid: there is no such topic; names some that are there.
    """
    found = client.partitions_for_topic(topic)
    if not found:
        there = sorted(name for name in client.topics() if not name.startswith("__"))
        near = get_close_matches(topic, there, TOPICS_NAMED) or there[:TOPICS_NAMED]
        raise ConfigInvalid(f"there is no topic '{topic}'; topics there: {', '.join(near) or 'none'}")
    return [TopicPartition(topic, partition) for partition in sorted(found)]


def end_offsets(client: KafkaConsumer, partitions: Collection[TopicPartition]) -> dict[TopicPartition, int]:
    """The offset that the next record of each partition will get; changes the client's assignment.

    Read from the high watermark of a fetch answer: Tansu 0.6 answers ListOffsets(latest) with the *first* offset of
    the last batch plus one, so that `KafkaConsumer.end_offsets` came 98 records short of 2,002 (measured).

    Raises:
        BrokerUnavailable: no answer within `SILENCE_LIMIT_S`.
    """
    if not partitions:
        return {}
    client.assign(list(partitions))
    client.seek_to_end(*partitions)
    deadline = Deadline.after(SILENCE_LIMIT_S, SystemClock())
    while any(client.highwater(partition) is None for partition in partitions):
        client.poll(timeout_ms=POLL_MS)
        if deadline.passed():
            raise BrokerUnavailable(f"the end of {_names(partitions)} was not told within {SILENCE_LIMIT_S:.0f} s")
    return {partition: int(client.highwater(partition)) for partition in partitions}


def read_range(client: KafkaConsumer, partition: TopicPartition, begin: int, end: int) -> list[Record]:
    """The records of one partition from `begin` up to, not with, `end`; offsets may have gaps.

    Raises:
        BrokerUnavailable: the log did not come within `SILENCE_LIMIT_S`.
    """
    return [record for piece in read_pieces(client, partition, begin, end) for record in piece]


def read_pieces(client: KafkaConsumer, partition: TopicPartition, begin: int, end: int) -> Iterator[list[Record]]:
    """As `read_range`, poll by poll, for a stretch that does not fit in memory."""
    client.assign([partition])
    client.seek(partition, begin)
    deadline = Deadline.after(SILENCE_LIMIT_S, SystemClock())
    while client.position(partition) < end:
        batch = client.poll(timeout_ms=POLL_MS).get(partition, [])
        if batch:
            yield [_record(found) for found in batch if found.offset < end]
            deadline = Deadline.after(SILENCE_LIMIT_S, SystemClock())
        elif deadline.passed():
            raise BrokerUnavailable(f"{_names([partition])} gave no record for {SILENCE_LIMIT_S:.0f} s")


def follow(client: KafkaConsumer, start: Mapping[TopicPartition, int]) -> Iterator[list[Record]]:
    """The records of some partitions from given offsets on, for ever; an empty list when a while passed without any."""
    client.assign(list(start))
    for partition, offset in start.items():
        client.seek(partition, offset)
    while True:
        batches = client.poll(timeout_ms=POLL_MS)
        yield [_record(found) for batch in batches.values() for found in batch]


def _record(found: ConsumerRecord) -> Record:
    return Record(
        found.topic,
        found.partition,
        found.offset,
        found.timestamp,
        found.key,
        found.value,
        tuple((name, value or b"") for name, value in found.headers),
    )


def _names(partitions: Collection[TopicPartition]) -> str:
    return ", ".join(sorted({partition.topic for partition in partitions}))
