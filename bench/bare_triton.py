"""Contender: a bare gRPC client that keeps Triton busy with batches made in advance. The limit of this server."""

from __future__ import annotations

import asyncio
import random
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import msgspec
import uvloop
from tritonclient.grpc import InferInput
from tritonclient.grpc.aio import InferenceServerClient

from bench.texts import inputs
from worker.analysis.batching import collate
from worker.analysis.bundle import Bundle
from worker.analysis.prepare import Prepared, Preparer, Window
from worker.text.language import Identifier

DEADLINE_S = 60.0
WINDOWS_A_TEXT = 32

Batch = tuple[list[int], list[InferInput]]
"""The number of the post that each row belongs to, and the tensors."""


class Setting(msgspec.Struct, frozen=True):
    """How Triton is asked: windows in one request, and requests at once."""

    batch: int
    in_flight: int


class Flood(msgspec.Struct, frozen=True):
    """Run `count` posts of `samples` through the model of `bundle` once with each setting."""

    url: str
    bundle: str
    samples: str
    count: int
    settings: list[Setting]
    result: str
    """The file that gets the completion times of the posts, Unix seconds, as one list per setting."""


def batches(posts: list[Prepared], size: int, pad_id: int) -> list[Batch]:
    """All windows, sorted by length over the whole run, in batches that are then shuffled.

    Better sorted than any worker can, which sees some hundred posts ahead; shuffled, so that the rate is even.
    """
    rows: list[tuple[int, Window]] = [(number, window) for number, post in enumerate(posts) for window in post.windows]
    rows.sort(key=lambda row: row[1].length)
    made = [_batch(rows[start : start + size], pad_id) for start in range(0, len(rows), size)]
    random.Random(0).shuffle(made)
    return made


def _batch(rows: list[tuple[int, Window]], pad_id: int) -> Batch:
    tokens = collate([window for _, window in rows], pad_id)
    tensors = []
    for name, array in (("input_ids", tokens.input_ids), ("attention_mask", tokens.attention_mask)):
        tensor = InferInput(name, list(array.shape), "INT64")
        tensor.set_data_from_numpy(array)
        tensors.append(tensor)
    return [number for number, _ in rows], tensors


async def flood(client: InferenceServerClient, model: str, made: list[Batch], in_flight: int) -> list[float]:
    """When each post was complete: the answer to its last window was there."""
    waiting: Iterator[Batch] = iter(made)
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
    texts = [(one.post.text, one.post.language) for one in inputs(Path(job.samples), job.count)]
    prepared = Preparer(bundle, Identifier(), WINDOWS_A_TEXT).prepare_many(texts)
    posts = [post for post in prepared if isinstance(post, Prepared)]
    client = InferenceServerClient(job.url)
    completed_s = []
    for setting in job.settings:
        made = batches(posts, setting.batch, bundle.pad_id)
        completed_s.append(await flood(client, bundle.model.name, made, setting.in_flight))
    await client.close()
    return completed_s


if __name__ == "__main__":
    job = msgspec.json.decode(sys.argv[1], type=Flood)
    Path(job.result).write_bytes(msgspec.json.encode(uvloop.run(measure(job))))
