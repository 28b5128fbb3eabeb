"""Contender: a bare gRPC client that keeps Triton busy with batches made in advance. The limit of this server."""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import msgspec
import uvloop
from tritonclient.grpc import InferInput
from tritonclient.grpc.aio import InferenceServerClient

from bench.contenders.batches import Rows, batches, prepared_posts
from bench.jobs import Flood
from worker.analysis.bundle import Bundle

DEADLINE_S = 60.0

Request = tuple[list[int], list[InferInput]]
"""The number of the post that each row belongs to, and the tensors."""


def request(rows: Rows) -> Request:
    """A batch as Triton's client wants it."""
    tensors = []
    for name, array in (("input_ids", rows.tokens.input_ids), ("attention_mask", rows.tokens.attention_mask)):
        tensor = InferInput(name, list(array.shape), "INT64")
        tensor.set_data_from_numpy(array)
        tensors.append(tensor)
    return rows.posts, tensors


async def flood(client: InferenceServerClient, model: str, made: list[Request], in_flight: int) -> list[float]:
    """When each post was complete: the answer to its last window was there."""
    waiting: Iterator[Request] = iter(made)
    completed_s: dict[int, float] = {}

    async def ask() -> None:
        for numbers, tensors in waiting:
            await client.infer(model, tensors, client_timeout=DEADLINE_S)
            completed_s.update(dict.fromkeys(numbers, time.time()))

    await asyncio.gather(*(ask() for _ in range(in_flight)))
    return list(completed_s.values())


async def measure(job: Flood) -> list[list[float]]:
    """Prepare the posts with the worker's own code, then run every setting: what `Flood.result` gets."""
    bundle = Bundle.load(Path(job.bundle))
    posts = prepared_posts(bundle, Path(job.samples), job.count)
    client = InferenceServerClient(job.url)
    completed_s = []
    for setting in job.settings:
        made = [request(rows) for rows in batches(posts, setting.batch, bundle.pad_id)]
        completed_s.append(await flood(client, bundle.model.name, made, setting.in_flight))
    await client.close()
    return completed_s


if __name__ == "__main__":
    job = msgspec.json.decode(sys.argv[1], type=Flood)
    Path(job.result).write_bytes(msgspec.json.encode(uvloop.run(measure(job))))
