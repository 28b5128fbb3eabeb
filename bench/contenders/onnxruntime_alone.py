"""Contender: onnxruntime on the same model file, without any server: the limit of the model on this machine."""

from __future__ import annotations

import sys
import threading
import time
from pathlib import Path

import msgspec
from onnxruntime import InferenceSession

from bench.contenders.batches import Rows, batches, prepared_posts
from bench.jobs import Alone, Split
from worker.analysis.bundle import Bundle
from worker.analysis.inference import OUTPUTS
from worker.analysis.onnx_session import session_options


def session(model: Path, threads: int) -> InferenceSession:
    """A session as Triton's model.py makes it, with so many threads."""
    return InferenceSession(model, session_options(threads), providers=["CPUExecutionProvider"])


def run(model: Path, made: list[Rows], split: Split) -> list[float]:
    """When each post was complete, Unix seconds: its last window was through."""
    waiting, taking, completed_s = iter(made), threading.Lock(), {}

    def work(one: InferenceSession) -> None:
        while True:
            with taking:
                rows = next(waiting, None)
            if rows is None:
                return
            one.run(OUTPUTS, {"input_ids": rows.tokens.input_ids, "attention_mask": rows.tokens.attention_mask})
            completed_s.update(dict.fromkeys(rows.posts, time.time()))

    threads = [threading.Thread(target=work, args=(session(model, split.threads),)) for _ in range(split.sessions)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return list(completed_s.values())


def measure(job: Alone) -> list[list[float]]:
    """Every split, one after the other: what `Alone.result` gets."""
    bundle = Bundle.load(Path(job.bundle))
    posts = prepared_posts(bundle, Path(job.samples), job.count)
    return [run(bundle.model_file, batches(posts, split.batch, bundle.pad_id), split) for split in job.splits]


if __name__ == "__main__":
    job = msgspec.json.decode(sys.argv[1], type=Alone)
    Path(job.result).write_bytes(msgspec.json.encode(measure(job)))
