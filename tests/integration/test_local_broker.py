"""What the embedded broker does, as far as we rely on it or must work around it (docs/decisions/embedded-broker.md)."""

import asyncio
import uuid
from collections.abc import Iterator

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from kafka import KafkaAdminClient, KafkaConsumer, KafkaProducer
from kafka import TopicPartition as Place
from kafka.admin import NewTopic

from worker.local.stack import Addresses

pytestmark = pytest.mark.integration

PARTITIONS = 3


@pytest.fixture
def admin(servers: Addresses) -> Iterator[KafkaAdminClient]:
    """A client of the broker."""
    client = KafkaAdminClient(bootstrap_servers=servers.kafka)
    yield client
    client.close()


@pytest.fixture
def topic(admin: KafkaAdminClient) -> str:
    """A new topic with three partitions."""
    name = f"facts-{uuid.uuid4().hex[:8]}"
    admin.create_topics([NewTopic(name, num_partitions=PARTITIONS, replication_factor=1)])
    return name


def described(admin: KafkaAdminClient, topic: str) -> dict[str, object]:
    """What Metadata says about one topic."""
    (found,) = admin.describe_topics([topic])
    return dict(found)


def test_a_topic_has_its_partitions_and_an_id_of_its_own(admin: KafkaAdminClient, topic: str) -> None:
    """Partitions as asked for; a topic deleted and made again has another id, so stored positions are told apart."""
    before = described(admin, topic)
    assert len(list(before["partitions"])) == PARTITIONS  # type: ignore[call-overload]
    admin.delete_topics([topic])
    admin.create_topics([NewTopic(topic, num_partitions=1, replication_factor=1)])
    after = described(admin, topic)
    assert before["topic_id"]
    assert after["topic_id"]
    assert before["topic_id"] != after["topic_id"]


def test_a_record_arrives_as_it_was_sent(servers: Addresses, topic: str) -> None:
    """Key, value, headers in order and twice, timestamp; null key and value; 1.5 MB; kafka-python's idempotence."""
    producer = KafkaProducer(bootstrap_servers=servers.kafka, max_request_size=2_000_000)
    assert producer.config["enable_idempotence"]
    headers = [("h", b"1"), ("h", b"2"), ("empty", b"")]
    producer.send(topic, b"value", key=b"key", headers=headers, partition=1, timestamp_ms=1_700_000_000_123)
    producer.send(topic, None, key=b"key", partition=1)
    producer.send(topic, b"x" * 1_500_000, partition=1)
    producer.flush(30)
    producer.close()
    consumer = KafkaConsumer(bootstrap_servers=servers.kafka, auto_offset_reset="earliest", enable_auto_commit=False)
    consumer.assign([Place(topic, 1)])
    first, null, large = (next(consumer) for _ in range(3))
    consumer.close()
    assert (first.key, first.value, first.headers, first.timestamp) == (b"key", b"value", headers, 1_700_000_000_123)
    assert (null.key, null.value, null.offset) == (b"key", None, 1)
    assert (large.key, len(large.value)) == (None, 1_500_000)


def test_a_batch_of_records_and_the_end_of_the_log(servers: Addresses, topic: str) -> None:
    """A `send_batch` of aiokafka works; the high watermark is the log's end, the latest offset that is listed is not.

    Code that needs the end of the log here must not trust `end_offsets`. When the last line fails, the broker has been
    repaired: shorten docs/decisions/embedded-broker.md.
    """
    place = TopicPartition(topic, 0)

    async def talk() -> tuple[int, int | None, int]:
        async with AIOKafkaProducer(bootstrap_servers=servers.kafka) as producer:
            batch = producer.create_batch()
            for number in range(5):
                batch.append(key=None, value=b"%d" % number, timestamp=None, headers=[("null", None)])
            await (await producer.send_batch(batch, topic, partition=0))
        async with AIOKafkaConsumer(
            bootstrap_servers=servers.kafka, auto_offset_reset="earliest", enable_auto_commit=False
        ) as consumer:
            consumer.assign([place])
            read = [await consumer.getone() for _ in range(5)]
            assert [record.value for record in read] == [b"0", b"1", b"2", b"3", b"4"]
            assert read[0].headers == (("null", None),)
            return len(read), consumer.highwater(place), (await consumer.end_offsets([place]))[place]

    read, highwater, listed = asyncio.run(asyncio.wait_for(talk(), 60))
    assert highwater == read == 5
    assert listed == 1


def test_a_group_joins_and_its_offsets_stay(servers: Addresses, topic: str) -> None:
    """One member gets every partition; what it commits, the next member of the group reads back."""

    def member() -> AIOKafkaConsumer:
        return AIOKafkaConsumer(
            topic,
            bootstrap_servers=servers.kafka,
            group_id=f"group-{topic}",
            enable_auto_commit=False,
            auto_offset_reset="earliest",
            session_timeout_ms=3_000,
            heartbeat_interval_ms=500,
            rebalance_timeout_ms=3_000,
        )

    async def assigned(consumer: AIOKafkaConsumer) -> set[TopicPartition]:
        while not consumer.assignment():
            await consumer.getmany(timeout_ms=50)
        return set(consumer.assignment())

    async def talk() -> int | None:
        place = TopicPartition(topic, 2)
        async with AIOKafkaProducer(bootstrap_servers=servers.kafka) as producer:
            for number in range(7):
                await producer.send_and_wait(topic, b"%d" % number, partition=2)
        async with member() as first:
            assert len(await assigned(first)) == PARTITIONS
            await first.commit({place: 4})
        async with member() as second:
            await assigned(second)
            assert (await second.getone(place)).value == b"4"
            return await second.committed(place)

    assert asyncio.run(asyncio.wait_for(talk(), 90)) == 4
