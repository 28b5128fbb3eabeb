"""Contender: FastStream copies records, a batch subscriber of 1,024; `one` handles record by record instead."""

from __future__ import annotations

import asyncio
import os
import sys

import msgspec
import uvloop
from faststream import AckPolicy, FastStream
from faststream.kafka import KafkaBroker, KafkaMessage

from bench.jobs import Pump

RECORDS = 1024
PUBLISHED = 256
"""Records in one batch written: `publish_batch` refuses more than `max_batch_size`."""

BATCH_BYTES = 1_048_576


def records_at_once(job: Pump) -> int:
    """Fewer in a quick look, in which all posts would be done at one moment."""
    return max(1, min(RECORDS, job.count // 5))


async def raw(message: KafkaMessage) -> bytes:
    """Hand over the bytes as they are."""
    return message.body


async def raw_batch(message: KafkaMessage) -> list[bytes]:
    """The same for a batch."""
    return message.body


def create_app(job: Pump, one_by_one: bool) -> FastStream:
    """An application that ends the process after `job.count` records."""
    broker = KafkaBroker(job.brokers, acks="all", max_batch_size=BATCH_BYTES, logger=None)
    left = job.count

    def count(done: int) -> None:
        nonlocal left
        left -= done
        if left <= 0:
            asyncio.get_running_loop().call_later(0.1, os._exit, 0)

    common = {"group_id": job.group, "auto_offset_reset": "earliest"}
    if one_by_one:

        @broker.subscriber(*job.inputs, **common, auto_commit_interval_ms=500, max_poll_records=RECORDS, decoder=raw)
        async def copy_one(body: bytes) -> None:
            await broker.publish(body, job.output)
            count(1)

    else:

        @broker.subscriber(
            *job.inputs,
            **common,
            batch=True,
            max_records=records_at_once(job),
            ack_policy=AckPolicy.ACK,
            decoder=raw_batch,
        )
        async def copy(bodies: list[bytes]) -> None:
            parts = [bodies[start : start + PUBLISHED] for start in range(0, len(bodies), PUBLISHED)]
            await asyncio.gather(*(broker.publish_batch(*part, topic=job.output) for part in parts))
            count(len(bodies))

    return FastStream(broker, logger=None)


if __name__ == "__main__":
    app = create_app(msgspec.json.decode(sys.argv[1], type=Pump), one_by_one="one" in sys.argv[2:])
    uvloop.run(app.run())
