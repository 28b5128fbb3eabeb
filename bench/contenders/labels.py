"""What a rival's author would write around the model: tokens with padding, and the likeliest labels as JSON.

Less than polyvox does: no language, no windows of long texts (they are cut), no calibration, no entities. Nothing of
`worker/` is imported: this runs in the rivals' own environments.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import msgspec
import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer

OUTPUTS = ("sentiment_logits", "topic_logits")


class Post(msgspec.Struct):
    """What a rival reads of a post."""

    id: str
    text: str


class Labelled(msgspec.Struct):
    """What it writes."""

    post: msgspec.Raw
    sentiment: str
    topic: str


class Labels:
    """Tokenizer and labels of a bundle."""

    def __init__(self, bundle: Path) -> None:
        manifest = msgspec.json.decode((bundle / "bundle.json").read_bytes())
        self.tokenizer = Tokenizer.from_file(str(bundle / "tokenizer.json"))
        self.tokenizer.enable_truncation(manifest["window_tokens"])
        self._pad_id = manifest["pad_id"]
        self._sentiment = manifest["sentiment"]
        self._topics = [topic["name"] for topic in manifest["topics"]]
        self._decoder = msgspec.json.Decoder(Post)

    def tokens(self, values: Sequence[bytes]) -> list[list[int]]:
        """The token ids of each post's text."""
        texts = [self._decoder.decode(value).text for value in values]
        return [encoding.ids for encoding in self.tokenizer.encode_batch_fast(texts)]

    def padded(self, rows: Sequence[Sequence[int]]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Ids and mask, int64 [rows, longest]."""
        longest = max(map(len, rows))
        ids = np.full((len(rows), longest), self._pad_id, np.int64)
        mask = np.zeros_like(ids)
        for number, row in enumerate(rows):
            ids[number, : len(row)], mask[number, : len(row)] = row, 1
        return ids, mask

    def records(
        self, values: Sequence[bytes], sentiment: NDArray[np.float32], topic: NDArray[np.float32]
    ) -> list[bytes]:
        """The record of each post, from its logits [rows, labels]."""
        found = zip(values, sentiment.argmax(1), topic.argmax(1), strict=True)
        return [
            msgspec.json.encode(Labelled(msgspec.Raw(value), self._sentiment[one], self._topics[other]))
            for value, one, other in found
        ]


def by_length(rows: Sequence[Sequence[int]], size: int) -> Iterator[list[int]]:
    """The numbers of the rows in batches of neighbours in length."""
    order = sorted(range(len(rows)), key=lambda number: len(rows[number]))
    for start in range(0, len(order), size):
        yield order[start : start + size]
