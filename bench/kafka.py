"""Kafka as every contender uses it: load the input topics once, send whole batches, read completion times back."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable, Sequence
from typing import Any

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition

from worker.errors import PolyvoxError

SILENCE_MS = 5000
BATCH_BYTES = 1_048_576
FETCH_WAIT_MS = 20
"""Tansu sleeps through the whole wait of an empty fetch: docs/decisions/embedded-broker.md."""


async def load(brokers: str, records: Iterable[tuple[str, bytes, bytes]]) -> None:
    """Write (topic, key, value) records and wait until the broker has all of them."""
    logging.getLogger("aiokafka").setLevel(logging.ERROR)  # it warns of each partition without a leader, and waits
    async with AIOKafkaProducer(bootstrap_servers=brokers, acks="all", max_batch_size=BATCH_BYTES) as producer:
        await asyncio.gather(*[await producer.send(topic, value, key) for topic, key, value in records])


def start_batches(producer: Any, topic: str, partition: int, records: Sequence[Any]) -> list[Any]:
    """Sends of records (with key and value) in as few batches as they fit in; await each, then the future it gives."""
    batches = [producer.create_batch()]
    for record in records:
        fields = {"key": record.key, "value": record.value, "timestamp": None}
        if batches[-1].append(**fields) is None:
            batches.append(producer.create_batch())
            batches[-1].append(**fields)
    return [producer.send_batch(batch, topic, partition=partition) for batch in batches]


async def completion_times_s(brokers: str, topic: str, partitions: int, count: int) -> list[float]:
    """The timestamps, Unix seconds, of the `count` records of an output topic: when each was about to be sent.

    Raises:
        PolyvoxError: there are fewer.
    """
    async with AIOKafkaConsumer(bootstrap_servers=brokers, fetch_max_wait_ms=FETCH_WAIT_MS) as consumer:
        consumer.assign([TopicPartition(topic, number) for number in range(partitions)])
        await consumer.seek_to_beginning()
        times_s: list[float] = []
        while len(times_s) < count:
            polled = await consumer.getmany(timeout_ms=SILENCE_MS)
            if not polled:
                raise PolyvoxError(f"{topic} holds {len(times_s)} records, {count} were expected")
            for records in polled.values():
                times_s += [record.timestamp / 1000 for record in records]
    return times_s
