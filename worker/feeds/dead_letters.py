"""Dead letters: which there are, why, and sending them through the worker again."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from kafka import KafkaConsumer, KafkaProducer, TopicPartition

from worker.errors import BadRecord, ConfigInvalid, PolyvoxError
from worker.events import (
    ORIGIN_HEADER,
    DeadLetter,
    SourcePosition,
    dead_letter_from_headers,
    decode_origin,
    decode_post,
    encode_origin,
)
from worker.feeds.connect import consumer, producer
from worker.feeds.log import Record, end_offsets, partitions_of, read_range
from worker.feeds.topics import topic_ids
from worker.settings import Settings

FIRST_STRETCH = 200
"""Offsets read from the end of a partition at first; each further stretch back is twice as long."""

Resolved = Callable[[Sequence[SourcePosition]], Sequence[bool]]
"""Whether each of some original records has been analysed since; the aggregate store knows."""


@dataclass(frozen=True, slots=True)
class Letter:
    """A dead letter as it stands in the topic: why, the original record's position, and the bytes (or a prefix)."""

    why: DeadLetter
    origin: SourcePosition
    value: bytes
    written_ms: int
    resolved: bool = False


@dataclass(frozen=True)
class Filter:
    """Which dead letters are wanted; None takes any."""

    reason: str | None = None
    stage: str | None = None
    event_ids: frozenset[str] | None = None
    resolved: bool = False
    """Whether those that were analysed since are wanted as well."""

    def takes(self, why: DeadLetter) -> bool:
        """Whether a dead letter passes, apart from being resolved."""
        return (
            self.reason in (None, why.reason)
            and self.stage in (None, why.stage)
            and (self.event_ids is None or why.event_id in self.event_ids)
        )


def list_letters(settings: Settings, wanted: Filter, newest: int | None, resolved: Resolved) -> list[Letter]:
    """The newest dead letters that pass, newest first; of several of one record the newest alone.

    At most `newest`, or all for None: partitions are read back from their ends until that many are found. `resolved`
    is asked once for each stretch that was read.

    Raises:
        ConfigInvalid: there is no dead-letter topic.
        BrokerUnavailable: the cluster cannot be reached.
    """
    with consumer(settings) as client:
        partitions = partitions_of(client, settings.dead_letters_topic)
        begins, ends = client.beginning_offsets(partitions), end_offsets(client, partitions)
        scan = _Scan(client, wanted, newest, resolved)
        found = [letter for tp in partitions for letter in scan.partition(tp, begins[tp], ends[tp])]
    return sorted(found, key=lambda letter: letter.written_ms, reverse=True)[:newest]


@dataclass(frozen=True)
class _Scan:
    """One reading of the topic, from the ends back."""

    client: KafkaConsumer
    wanted: Filter
    newest: int | None
    resolved: Resolved

    def partition(self, tp: TopicPartition, begin: int, end: int) -> list[Letter]:
        """The newest letters of one partition that pass; all letters of one record stand in one partition."""
        seen: set[str] = set()
        found: list[Letter] = []
        stretch = FIRST_STRETCH
        while end > begin and (self.newest is None or len(found) < self.newest):
            start = max(begin, end - stretch)
            for letter in self._marked(read_range(self.client, tp, start, end)):
                if letter.why.event_id not in seen and (self.wanted.resolved or not letter.resolved):
                    found.append(letter)
                seen.add(letter.why.event_id)
            end, stretch = start, stretch * 2
        return found

    def _marked(self, records: list[Record]) -> list[Letter]:
        letters = [letter for record in reversed(records) if (letter := _letter(record)) is not None]
        letters = [letter for letter in letters if self.wanted.takes(letter.why)]
        flags = self.resolved([letter.origin for letter in letters]) if letters else []
        return [
            Letter(letter.why, letter.origin, letter.value, letter.written_ms, flag)
            for letter, flag in zip(letters, flags, strict=True)
        ]


def _letter(record: Record) -> Letter | None:
    """A record of the topic as a letter; None for one that polyvox did not write."""
    try:
        why = dead_letter_from_headers(record.headers)
        header = dict(record.headers).get(ORIGIN_HEADER)
        origin = why.position if header is None else decode_origin(header)
    except (KeyError, ValueError, BadRecord):
        return None
    return Letter(why, origin, record.value or b"", record.timestamp_ms)


def requeue(settings: Settings, letters: Sequence[Letter], failed: Callable[[Letter, PolyvoxError], None]) -> int:
    """Send the original records of dead letters through the worker again; the number that was sent.

    Each goes to its own topic and partition, in source order, with the original position in the header `pv-origin`:
    the outcome keeps the event id, so that it is counted once however often it is requeued. A letter that holds a
    prefix only is read again from the input topic. `failed` is called for each that cannot be requeued.

    Raises:
        BrokerUnavailable, ConfigInvalid: the cluster, and with it all that were not sent yet.
    """
    ids = topic_ids(settings)
    sent = 0
    with consumer(settings) as reader, producer(settings) as client:
        for letter in sorted(letters, key=lambda letter: letter.why.position):
            try:
                _refuse_foreign(letter, ids)
                value = _original(reader, letter)
            except ConfigInvalid as error:
                failed(letter, error)
                continue
            _send(client, letter, value)
            sent += 1
    return sent


def _refuse_foreign(letter: Letter, ids: dict[str, str]) -> None:
    origin = letter.origin
    if ids.get(origin.topic) != origin.topic_id:
        raise ConfigInvalid(
            f"{letter.why.event_id}: its topic '{origin.topic}' is no input topic any more, or was deleted and made "
            "again since: produce the post anew"
        )


def _original(reader: KafkaConsumer, letter: Letter) -> bytes:
    """The original bytes, read again where the letter holds a prefix.

    Raises:
        ConfigInvalid: retention has removed them.
    """
    why = letter.why
    if not why.truncated:
        return letter.value
    tp = TopicPartition(why.position.topic, why.position.partition)
    begin = reader.beginning_offsets([tp])[tp]
    records = (
        read_range(reader, tp, why.position.offset, why.position.offset + 1) if begin <= why.position.offset else []
    )
    value = records[0].value if records else None
    if value is None or hashlib.sha256(value).hexdigest() != why.sha256:
        raise ConfigInvalid(
            f"{why.event_id}: the letter holds the first {len(letter.value)} of {why.size_bytes} bytes, and {tp.topic} "
            f"partition {tp.partition} offset {why.position.offset} is no longer there: produce the post anew"
        )
    return value


def _send(client: KafkaProducer, letter: Letter, value: bytes) -> None:
    client.send(
        letter.origin.topic,
        key=_key(letter, value),
        value=value,
        partition=letter.origin.partition,
        headers=[(ORIGIN_HEADER, encode_origin(letter.origin))],
    ).get()


def _key(letter: Letter, value: bytes) -> bytes:
    """The post's id, as when it was produced; bytes that are no post get the event id."""
    try:
        return decode_post(value).id.encode()
    except BadRecord:
        return letter.why.event_id.encode()
