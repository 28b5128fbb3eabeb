"""Contender: a bare aiokafka loop that copies records, `getmany` to `send_batch`, and does nothing else."""

from __future__ import annotations

import asyncio
import sys

import msgspec
import uvloop
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer

from bench.jobs import Pump
from bench.kafka import BATCH_BYTES, FETCH_WAIT_MS, start_batches

RECORDS = 1024


async def pump(job: Pump) -> None:
    """Copy `job.count` records; offsets are committed twice a second, as polyvox does."""
    consumer = AIOKafkaConsumer(
        *job.inputs,
        bootstrap_servers=job.brokers,
        group_id=job.group,
        auto_offset_reset="earliest",
        auto_commit_interval_ms=500,
        fetch_max_wait_ms=FETCH_WAIT_MS,
        session_timeout_ms=3000,
        heartbeat_interval_ms=500,
        rebalance_timeout_ms=3000,
    )
    producer = AIOKafkaProducer(bootstrap_servers=job.brokers, acks="all", max_batch_size=BATCH_BYTES)
    async with consumer, producer:
        left = job.count
        while left > 0:
            polled = await consumer.getmany(timeout_ms=1000, max_records=RECORDS)
            sends = []
            for tp, records in polled.items():
                sends += start_batches(producer, job.output, job.output_partition(tp.topic, tp.partition), records)
                left -= len(records)
            await asyncio.gather(*[await send for send in sends])


if __name__ == "__main__":
    uvloop.run(pump(msgspec.json.decode(sys.argv[1], type=Pump)))
