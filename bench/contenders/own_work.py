"""Contender: what the worker makes of each post, in one thread, without Kafka, Triton, Redis or an event loop.

The functions and the batches are the worker's own, the answers those of the null model. No pipeline around this work
can be faster on one processor.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from pathlib import Path

import msgspec
import numpy as np
from numpy.typing import NDArray

from bench.contenders.batches import WINDOWS_A_TEXT
from bench.jobs import OwnWork
from bench.texts import FINANCIAL, SOCIAL, inputs, record
from worker.analysis.bundle import Bundle
from worker.analysis.inference import SENTIMENTS, TAGS, Logits
from worker.analysis.prepare import Prepared, Preparer, Window
from worker.entities.link import Linker
from worker.entities.table import load_aliases
from worker.events import Story
from worker.settings import Settings
from worker.stream.commit import Ledger
from worker.stream.decoding import Decoding
from worker.stream.enrich import PREPARE_CHUNK
from worker.stream.outcomes import Outcomes
from worker.stream.records import OutputRecord, Routes, SourceRecord, TopicPartition
from worker.stream.work import Work
from worker.text.language import Identifier
from worker.timing import SystemClock

Rows = tuple[NDArray[np.float32], ...]
CLOCK = SystemClock()
TOPICS = {f"own.{each}": each for each in (SOCIAL, FINANCIAL)}


def measure(job: OwnWork) -> list[float]:
    """When each post's event was made, Unix seconds."""
    bundle = Bundle.load(Path(job.bundle))
    preparer = Preparer(bundle, Identifier(), WINDOWS_A_TEXT)
    default = {name: field.default for name, field in Settings.model_fields.items()}
    routes = Routes(TOPICS, TOPICS, "enriched", "dead", default["max_record_bytes"])
    outcomes = Outcomes(routes, bundle.model, default["future_tolerance_s"])
    decoding = Decoding(outcomes, bundle, 0.0, Linker(load_aliases()))
    records = [record("own", one) for one in inputs(Path(job.samples), job.count)]
    rows = null_rows(len(bundle.topics))
    done_s: list[float] = []
    for start in range(0, len(records), PREPARE_CHUNK):
        chunk = read(records[start : start + PREPARE_CHUNK], start, outcomes)
        prepare(chunk, preparer, rows)
        for first in range(0, len(chunk), job.batch):
            some = decoding.analysed([(work, None) for work in chunk[first : first + job.batch]])
            stories = [Story(each.candidate.event_id, False) for each in some]
            decoding.finish(some, stories, CLOCK.unix_ms())
        if any(work.slot.outcome is None or work.slot.outcome.topic != "enriched" for work in chunk):
            raise RuntimeError("a post of the samples has no event")
        done_s += [time.time()] * len(chunk)
    return done_s


def read(records: Sequence[tuple[str, bytes, bytes]], first: int, outcomes: Outcomes) -> list[Work]:
    """Records as the enrich stage admits them, decoded."""
    ledger: Ledger[OutputRecord] = Ledger()
    chunk = []
    for offset, (topic, key, value) in enumerate(records, first):
        consumed = SourceRecord(TopicPartition(topic, 0), offset, CLOCK.unix_ms(), key, value, (), lambda: None)
        work = Work(outcomes.draft(consumed, CLOCK.unix_ms()), ledger, ledger.admit(offset, consumed.ack))
        outcomes.decode(work.draft, work.slot)
        chunk.append(work)
    return chunk


def prepare(chunk: Sequence[Work], preparer: Preparer, rows: Rows) -> None:
    """Tokenize, and answer as the null model does."""
    texts = [(work.draft.text, work.draft.hint) for work in chunk]
    for work, prepared in zip(chunk, preparer.prepare_many(texts), strict=True):
        if isinstance(prepared, Prepared):
            work.prepared, work.answers = prepared, [null_answer(window, rows) for window in prepared.windows]


def null_rows(topics: int) -> Rows:
    """Neutral, the first topic, no entity; float32 [1, C] each."""
    return tuple(np.eye(size, dtype=np.float32)[[at]] for size, at in ((SENTIMENTS, 1), (topics, 0), (TAGS, 0)))


def null_answer(window: Window, rows: Rows) -> Logits:
    """The same for every token of a window."""
    sentiment, topic, tag = rows
    tags, tokens = (np.broadcast_to(row, (1, window.length, row.size)) for row in (tag, sentiment))
    return Logits(sentiment, topic, tags, tokens)


if __name__ == "__main__":
    job = msgspec.json.decode(sys.argv[1], type=OwnWork)
    Path(job.result).write_bytes(msgspec.json.encode(measure(job)))
