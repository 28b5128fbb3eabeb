"""The batches of contenders without Kafka: made in advance, better sorted than a worker can, which sees some posts."""

from __future__ import annotations

import random
from dataclasses import dataclass
from pathlib import Path

from bench.texts import inputs
from worker.analysis.batching import collate
from worker.analysis.bundle import Bundle
from worker.analysis.inference import TokenBatch
from worker.analysis.prepare import Prepared, Preparer, Window
from worker.text.language import Identifier

WINDOWS_A_TEXT = 32


@dataclass(frozen=True)
class Rows:
    """One batch; `posts` is the number of the post that each of its rows belongs to."""

    posts: list[int]
    tokens: TokenBatch


def prepared_posts(bundle: Bundle, samples: Path, count: int) -> list[Prepared]:
    """The first posts of a run, tokenized by the worker's own code; those that are too long are left out."""
    texts = [(one.post.text, one.post.language) for one in inputs(samples, count)]
    prepared = Preparer(bundle, Identifier(), WINDOWS_A_TEXT).prepare_many(texts)
    return [post for post in prepared if isinstance(post, Prepared)]


def batches(posts: list[Prepared], size: int, pad_id: int) -> list[Rows]:
    """All windows, sorted by length over the whole run, in batches that are then shuffled, so that the rate is even."""
    rows: list[tuple[int, Window]] = [(number, window) for number, post in enumerate(posts) for window in post.windows]
    rows.sort(key=lambda row: row[1].length)
    made = []
    for start in range(0, len(rows), size):
        some = rows[start : start + size]
        made.append(Rows([number for number, _ in some], collate([window for _, window in some], pad_id)))
    random.Random(0).shuffle(made)
    return made
