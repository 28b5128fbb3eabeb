"""The Kafka clients against a real broker."""

from __future__ import annotations

import hashlib
import itertools
import json
from collections.abc import Iterator, Sequence
from functools import cache
from typing import Any
from uuid import uuid4

import pytest
from kafka import OffsetAndMetadata, TopicPartition

from worker.errors import BrokerUnavailable, ConfigInvalid, PolyvoxError
from worker.events import (
    ORIGIN_HEADER,
    DeadLetter,
    SourcePosition,
    dead_letter_headers,
    decode_origin,
    position_headers,
)
from worker.feeds.connect import admin, consumer, producer
from worker.feeds.dead_letters import Filter, Letter, list_letters, requeue
from worker.feeds.lag import lag
from worker.feeds.log import end_offsets, partitions_of, read_range
from worker.feeds.produce import Watch, produce
from worker.feeds.records import BadRow, PostRow
from worker.feeds.tail import batches, tail
from worker.feeds.topics import ensure_topics, topic_ids
from worker.settings import Settings, load_settings

pytestmark = pytest.mark.integration


@pytest.fixture
def settings(kafka_brokers: str) -> Settings:
    """Settings with topics of this test alone."""
    name = f"feeds-{uuid4().hex[:8]}"
    return load_settings(
        kafka_brokers=kafka_brokers,
        app_id=name,
        input_topics={f"{name}.social": "social", f"{name}.financial": "financial"},
        enriched_topic=f"{name}.enriched",
        dead_letters_topic=f"{name}.dead",
        alerts_topic=f"{name}.alerts",
        partitions=3,
    )


def rows(count: int) -> Iterator[PostRow]:
    """So many small records with keys."""
    return (PostRow(line, b"key %d" % line, b"value %d" % line) for line in range(1, count + 1))


def ends(settings: Settings, topic: str) -> list[int]:
    """The end offset of each partition."""
    with consumer(settings) as client:
        return list(end_offsets(client, partitions_of(client, topic)).values())


def never(positions: Sequence[SourcePosition]) -> list[bool]:
    """A store in which no dead letter was resolved."""
    return [False] * len(positions)


def write_letters(settings: Settings, letters: Sequence[tuple[DeadLetter, bytes]]) -> None:
    """Put dead letters into partition 0 of their topic, as a worker would."""
    with producer(settings) as client:
        for letter, value in letters:
            client.send(
                settings.dead_letters_topic,
                key=letter.event_id.encode(),
                value=value,
                partition=0,
                headers=dead_letter_headers(letter),
            ).get()


@cache
def topic_id_of(brokers: str, topic: str) -> str:
    """The id of a topic, asked once."""
    return topic_ids(load_settings(kafka_brokers=brokers, input_topics={topic: "social"}))[topic]


def dead(settings: Settings, offset: int, value: bytes = b"{", **changes: Any) -> tuple[DeadLetter, bytes]:
    """A dead letter of the record at `offset` in partition 1 of the first input topic."""
    topic = next(iter(settings.input_topics))
    position = SourcePosition(topic, topic_id_of(settings.kafka_brokers, topic), 1, offset)
    fields = {"stage": "decode", "reason": "not_json", "size_bytes": len(value)} | changes
    sha256 = hashlib.sha256(value).hexdigest()
    letter = DeadLetter(event_id=position.event_id, position=position, broker_ms=1, **({"sha256": sha256} | fields))
    return letter, value


def test_missing_topics_are_created_once(settings: Settings) -> None:
    """Outputs get one partition for each partition of each input; a second call changes nothing."""
    created = ensure_topics(settings)
    outputs = {settings.enriched_topic, settings.dead_letters_topic, settings.alerts_topic}
    assert set(created) == {*settings.input_topics, *outputs}
    assert ensure_topics(settings) == []
    with consumer(settings) as client:
        counts = [len(partitions_of(client, topic)) for topic in created]
    assert sorted(counts) == [1, 3, 3, 6, 6]  # alerts have one, which keeps their order


def test_an_output_topic_with_too_few_partitions_is_refused(settings: Settings) -> None:
    """A worker must not start when two source partitions would share an output partition."""
    with admin(settings) as client:
        client.create_topics({settings.enriched_topic: {"num_partitions": 5, "replication_factor": 1}})
    with pytest.raises(ConfigInvalid, match="has 5 partitions and needs 6"):
        ensure_topics(settings)


def test_a_recreated_topic_has_another_id(settings: Settings) -> None:
    """The id tells a topic from an older one of its name."""
    topic = next(iter(settings.input_topics))
    ensure_topics(settings)
    before = topic_ids(settings)
    with admin(settings) as client:
        client.delete_topics([topic])
    with pytest.raises(ConfigInvalid, match=topic):
        topic_ids(settings)
    ensure_topics(settings)
    after = topic_ids(settings)
    assert {name for name in before if before[name] != after[name]} == {topic}


def test_what_is_produced_is_confirmed_and_read_back(settings: Settings) -> None:
    """Each row arrives once with its key, copies of a key in one partition; bad rows are counted and passed by."""
    topic = next(iter(settings.input_topics))
    feed = itertools.chain(rows(300), [BadRow(301, "not_json", "")], rows(300), [PostRow(602, b"gone", None)])
    problems: list[BadRow] = []
    counts = produce(settings, topic, feed, Watch(problem=problems.append))
    assert (counts.sent, counts.bad, counts.failed, counts.tombstones, counts.complete) == (601, 1, 0, 1, False)
    assert problems == [BadRow(301, "not_json", "")]
    found = list(tail(settings, topic, "beginning", count=601))
    assert sorted(record.value or b"" for record in found) == sorted(
        [*(row.value or b"" for row in rows(300)), *(row.value or b"" for row in rows(300)), b""]
    )
    partitions = {(record.key, record.partition) for record in found}
    assert len(partitions) == len({key for key, _ in partitions})
    assert sum(ends(settings, topic)) == 601


def test_a_record_too_large_fails_alone(settings: Settings) -> None:
    """The line of a record that no broker takes is reported, and the next one is sent."""
    topic = next(iter(settings.input_topics))
    problems: list[BadRow] = []
    feed = iter([PostRow(1, b"a", b"x" * 3_000_000), PostRow(2, b"b", b"y")])
    counts = produce(settings, topic, feed, Watch(problem=problems.append))
    assert (counts.sent, counts.failed, counts.stopped_at_line) == (1, 1, None)
    assert [(problem.line, problem.reason) for problem in problems] == [(1, "not_delivered")]


def test_the_end_of_a_log_is_the_next_offset(settings: Settings) -> None:
    """Also after large batches, whose first offset some brokers take for the end."""
    topic = next(iter(settings.input_topics))
    for count in (1, 500, 10):
        before = sum(ends(settings, topic)) if count > 1 else 0
        produce(settings, topic, rows(count))
        assert sum(ends(settings, topic)) == before + count


def test_a_row_that_names_a_topic_goes_there(settings: Settings) -> None:
    """The others go where all rows go."""
    first, second = settings.input_topics
    ensure_topics(settings)
    produce(settings, first, iter([PostRow(1, b"a", b"a"), PostRow(2, b"b", b"b", second), PostRow(3, b"c", b"c")]))
    assert [sum(ends(settings, topic)) for topic in (first, second)] == [2, 1]


def test_tail_from_the_end_starts_with_the_next_record(settings: Settings) -> None:
    """What was there before is not shown."""
    topic = next(iter(settings.input_topics))
    produce(settings, topic, rows(200))
    stream = batches(settings, [topic], "end")
    assert next(stream) == []
    produce(settings, topic, iter([PostRow(1, b"new", b"new")]))
    found = next(batch for batch in itertools.islice(stream, 50) if batch)
    assert [record.value for record in found] == [b"new"]


def test_tail_names_the_topics_when_there_is_none_of_that_name(settings: Settings) -> None:
    """A mistyped topic is one clear error and creates nothing."""
    ensure_topics(settings)
    for _ in range(2):
        with pytest.raises(ConfigInvalid, match=settings.enriched_topic):
            next(tail(settings, f"{settings.enriched_topic}d"))


def test_lag_is_end_minus_committed(settings: Settings) -> None:
    """Before a commit the whole log is lag; afterwards what follows the committed offset."""
    topic = next(iter(settings.input_topics))
    ensure_topics(settings)
    produce(settings, topic, rows(90))
    group = f"{settings.app_id}.enrich"
    found = lag(settings)
    assert sum(entry.records for entry in found if entry.topic == topic) == 90
    assert {entry.stage for entry in found} == {"enrich", "aggregate"}
    with admin(settings) as client:
        client.alter_group_offsets(group, {TopicPartition(topic, 0): OffsetAndMetadata(7, "", -1)})
    entry = next(entry for entry in lag(settings) if (entry.topic, entry.partition) == (topic, 0))
    assert (entry.committed, entry.records) == (7, entry.end - 7)


def test_dead_letters_are_listed_newest_first_and_filtered(settings: Settings) -> None:
    """By reason and stage, at most so many; resolved ones are hidden; of a record that failed twice only the last."""
    ensure_topics(settings)
    again = dead(settings, 0, stage="infer", reason="rejected")
    write_letters(
        settings,
        [
            *(dead(settings, offset) for offset in range(250)),
            dead(settings, 250, stage="validate", reason="no_id"),
            again,
        ],
    )

    def offsets(wanted: Filter, newest: int | None, resolved: Any = never) -> list[int]:
        return [letter.why.position.offset for letter in list_letters(settings, wanted, newest, resolved)]

    assert offsets(Filter(), 3)[:2] == [0, 250]
    assert len(offsets(Filter(), None)) == 251
    assert offsets(Filter(reason="no_id"), 5) == [250]
    assert offsets(Filter(stage="infer"), 5) == [0]
    assert offsets(Filter(event_ids=frozenset([dead(settings, 17)[0].event_id])), 5) == [17]

    def old_are_resolved(positions: Sequence[SourcePosition]) -> list[bool]:
        return [position.offset >= 20 or position.offset == 0 for position in positions]

    assert sorted(offsets(Filter(), 50, old_are_resolved)) == list(range(1, 20))
    assert len(offsets(Filter(resolved=True), None, old_are_resolved)) == 251


def test_a_requeued_letter_is_the_original_record_in_its_own_partition(settings: Settings) -> None:
    """Bytes, topic and partition are the original's; the header names its position; a prefix is read again."""
    topic = next(iter(settings.input_topics))
    ensure_topics(settings)
    whole = json.dumps({"id": "7", "source": "x", "published_at": "2025-01-01T00:00:00Z", "text": "x" * 2000}).encode()
    with producer(settings) as client:
        for value in (b"not json", whole):
            client.send(topic, value=value, partition=1).get()
    write_letters(
        settings,
        [
            dead(settings, 0, b"not json"),
            (
                dead(settings, 1, whole, truncated=True)[0],
                whole[:100],
            ),
        ],
    )
    letters = list_letters(settings, Filter(), None, never)
    problems: list[tuple[Letter, PolyvoxError]] = []
    assert requeue(settings, letters, lambda letter, error: problems.append((letter, error))) == 2
    assert problems == []
    with consumer(settings) as client:
        found = read_range(client, partitions_of(client, topic)[1], 2, 4)
    assert [record.value for record in found] == [b"not json", whole]
    assert [record.key for record in found] == [dead(settings, 0)[0].event_id.encode(), b"7"]
    origins = [decode_origin(dict(record.headers)[ORIGIN_HEADER]) for record in found]
    assert [(origin.partition, origin.offset) for origin in origins] == [(1, 0), (1, 1)]


def test_what_cannot_be_requeued_is_reported_and_the_rest_is_sent(settings: Settings) -> None:
    """A prefix whose record is gone, and a letter of a topic that was made again: an error each, never wrong bytes."""
    topic = next(iter(settings.input_topics))
    ensure_topics(settings)
    with producer(settings) as client:
        client.send(topic, value=b"something else", partition=1).get()
    foreign = SourcePosition(topic, "another-id", 1, 0)
    write_letters(
        settings,
        [
            dead(settings, 0, b"the whole", truncated=True),
            (DeadLetter(event_id=foreign.event_id, position=foreign, broker_ms=1, stage="decode", reason="x"), b"{"),
            dead(settings, 5, b"fine"),
        ],
    )
    problems: list[str] = []
    letters = list_letters(settings, Filter(), None, never)
    assert requeue(settings, letters, lambda _, error: problems.append(str(error))) == 1
    assert len(problems) == 2
    assert sum("no longer there" in problem for problem in problems) == 1
    assert sum("made again" in problem for problem in problems) == 1


def test_records_that_polyvox_did_not_write_are_no_letters(settings: Settings) -> None:
    """A stranger's record in the dead-letter topic, and a record without a reason, are passed over."""
    ensure_topics(settings)
    letter, _ = dead(settings, 0)
    with producer(settings) as client:
        client.send(settings.dead_letters_topic, value=b"hello", partition=0).get()
        client.send(
            settings.dead_letters_topic, value=b"x", partition=0, headers=position_headers(letter.position, 1)
        ).get()
    assert list_letters(settings, Filter(), None, never) == []


def test_a_cluster_that_is_away_is_one_clear_error() -> None:
    """The message names the address and the setting."""
    away = load_settings(kafka_brokers="127.0.0.1:9")
    with pytest.raises(BrokerUnavailable, match=r"127.0.0.1:9.*POLYVOX_KAFKA_BROKERS"):
        lag(away)
