"""Records as they come from and go to Kafka, apart from any client library."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from worker.errors import BadRecord
from worker.events import (
    ORIGIN_HEADER,
    DeadLetter,
    EnrichedPost,
    SourcePosition,
    dead_letter_headers,
    decode_origin,
    encode,
    encode_origin,
    position_headers,
)

HEADERS_ROOM_BYTES = 4096
"""Room for key and headers beside a value, within the largest record that the broker takes."""


class TopicPartition(NamedTuple):
    """One partition of one topic."""

    topic: str
    partition: int


@dataclass(frozen=True, slots=True)
class SourceRecord:
    """A consumed record; `ack` marks it as done, in memory, and never blocks."""

    tp: TopicPartition
    offset: int
    broker_ms: int
    key: bytes | None
    value: bytes | None
    headers: Sequence[tuple[str, bytes]]
    ack: Callable[[], object]


class Placed(NamedTuple):
    """A consumed record, where it stands, and the position that names its event (see `origin_of`)."""

    record: SourceRecord
    position: SourcePosition
    origin: SourcePosition


@dataclass(frozen=True, slots=True)
class OutputRecord:
    """A record to publish; `value` is None for a tombstone."""

    topic: str
    key: bytes | None
    value: bytes | None
    headers: list[tuple[str, bytes]]


@dataclass(frozen=True)
class Routes:
    """Where the outcomes of each source partition go.

    Output partition = source partition x number of input topics + index of the input topic: one to one, and stable
    when partitions are added. Another number of topics moves it; the guard counts by source position and does not mind.
    """

    input_topics: Mapping[str, str]
    topic_ids: Mapping[str, str]
    enriched_topic: str
    dead_letters_topic: str
    max_record_bytes: int

    def output_partition(self, source: TopicPartition) -> int:
        """The partition, in both output topics, of a source partition's outcomes."""
        topics = list(self.input_topics)
        return source.partition * len(topics) + topics.index(source.topic)

    def source_shard(self, output_partition: int) -> str | None:
        """The source partition whose outcomes an output partition holds, as a shard; None for a surplus one."""
        partition, index = divmod(output_partition, len(self.input_topics))
        topic_id = self.topic_ids.get(list(self.input_topics)[index])
        return f"{topic_id}:{partition}" if topic_id else None

    def position(self, record: SourceRecord) -> SourcePosition:
        """Where a record stands, with the id of its topic."""
        return SourcePosition(record.tp.topic, self.topic_ids[record.tp.topic], record.tp.partition, record.offset)


def origin_of(record: SourceRecord, position: SourcePosition) -> SourcePosition:
    """The position that names the event: of the original record when this one is a requeued dead letter.

    Raises:
        BadRecord: the header is not ours, or names another partition than the record's own.
    """
    header = dict(record.headers).get(ORIGIN_HEADER)
    if header is None:
        return position
    origin = decode_origin(header)
    if origin.shard != position.shard or origin.offset >= position.offset:
        raise BadRecord("validate", "bad_origin", "a dead letter is requeued to its own partition")
    return origin


def enriched_record(routes: Routes, event: EnrichedPost, placed: Placed) -> OutputRecord:
    """The record of an analysed post.

    Raises:
        BadRecord: larger than the broker takes.
    """
    value = encode(event)
    if len(value) + HEADERS_ROOM_BYTES > routes.max_record_bytes:
        raise BadRecord("encode", "record_too_large", f"{len(value)} bytes enriched")
    headers = [*position_headers(placed.position, placed.record.broker_ms), *_origin_header(placed)]
    return OutputRecord(routes.enriched_topic, placed.record.key or event.post.id.encode(), value, headers)


def tombstone_record(routes: Routes, placed: Placed) -> OutputRecord:
    """The outcome of a null value: a null value, so that a compacted `enriched` forgets the key as well."""
    headers = position_headers(placed.position, placed.record.broker_ms)
    return OutputRecord(routes.enriched_topic, placed.record.key, None, headers)


def dead_letter_record(routes: Routes, placed: Placed, why: BadRecord, model_version: str) -> OutputRecord:
    """The record of a post that cannot be analysed: its bytes as they came, the rest in headers."""
    value = placed.record.value or b""
    limit_bytes = routes.max_record_bytes - HEADERS_ROOM_BYTES
    letter = DeadLetter(
        event_id=placed.origin.event_id,
        position=placed.position,
        broker_ms=placed.record.broker_ms,
        stage=why.stage,
        reason=why.reason,
        detail=why.detail[:500],
        model_version=model_version,
        truncated=len(value) > limit_bytes,
        size_bytes=len(value),
        sha256=hashlib.sha256(value).hexdigest(),
    )
    headers = [*dead_letter_headers(letter), *_origin_header(placed)]
    return OutputRecord(routes.dead_letters_topic, letter.event_id.encode(), value[:limit_bytes], headers)


def _origin_header(placed: Placed) -> list[tuple[str, bytes]]:
    requeued = placed.origin != placed.position
    return [(ORIGIN_HEADER, encode_origin(placed.origin))] if requeued else []
