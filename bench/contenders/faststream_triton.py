"""Contender: FastStream with the model, as well as one can write it in a page.

A batch subscriber of 1,024 records, tokens in the worker, batches of 16 neighbours in length, three at Triton at once,
records written in batches, acknowledged after that.
"""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path

import msgspec
import numpy as np
import uvloop
from faststream import AckPolicy, FastStream
from faststream.kafka import KafkaBroker
from tritonclient.grpc import InferInput
from tritonclient.grpc.aio import InferenceServerClient

from bench.contenders.faststream_copy import BATCH_BYTES, PUBLISHED, raw_batch, records_at_once
from bench.contenders.labels import OUTPUTS, Labels, by_length
from bench.jobs import Enrich

BATCH = 16
IN_FLIGHT = 3
DEADLINE_S = 60.0


class Model:
    """Triton's client; made inside the event loop."""

    def __init__(self, job: Enrich) -> None:
        self._client = InferenceServerClient(job.triton)
        self._labels = Labels(Path(job.bundle))
        self._free = asyncio.Semaphore(IN_FLIGHT)

    async def records(self, values: list[bytes]) -> list[bytes]:
        """The labelled record of each post, in order."""
        rows = self._labels.tokens(values)
        found = [b""] * len(values)

        async def ask(numbers: list[int]) -> None:
            async with self._free:
                logits = await self._infer([rows[number] for number in numbers])
            records = self._labels.records([values[number] for number in numbers], *logits)
            for number, record in zip(numbers, records, strict=True):
                found[number] = record

        await asyncio.gather(*(ask(numbers) for numbers in by_length(rows, BATCH)))
        return found

    async def _infer(self, rows: list[list[int]]) -> list[np.ndarray]:
        tensors = []
        for name, array in zip(("input_ids", "attention_mask"), self._labels.padded(rows), strict=True):
            tensors.append(InferInput(name, list(array.shape), "INT64"))
            tensors[-1].set_data_from_numpy(array)
        answer = await self._client.infer("analyzer", tensors, client_timeout=DEADLINE_S)
        return [answer.as_numpy(name) for name in OUTPUTS]


async def run(job: Enrich) -> None:
    """Ends the process after `job.pump.count` records."""
    pump, left = job.pump, job.pump.count
    broker = KafkaBroker(pump.brokers, acks="all", max_batch_size=BATCH_BYTES, logger=None)
    model = Model(job)

    @broker.subscriber(
        *pump.inputs,
        group_id=pump.group,
        auto_offset_reset="earliest",
        batch=True,
        max_records=records_at_once(pump),
        ack_policy=AckPolicy.ACK,
        decoder=raw_batch,
    )
    async def enrich(bodies: list[bytes]) -> None:
        nonlocal left
        records = await model.records(bodies)
        for start in range(0, len(records), PUBLISHED):
            await broker.publish_batch(*records[start : start + PUBLISHED], topic=pump.output)
        left -= len(records)
        if left <= 0:
            asyncio.get_running_loop().call_later(0.1, os._exit, 0)

    await FastStream(broker, logger=None).run()


if __name__ == "__main__":
    uvloop.run(run(msgspec.json.decode(sys.argv[1], type=Enrich)))
