"""A mark of 8 bytes for each source offset that has an outcome in `enriched`: what tells repeats that differ."""

from __future__ import annotations

import hashlib
from array import array
from typing import Literal

from worker.opinion.cells import Outcome

CHUNK = 4096
_HALF = 0xFFFFFFFF


class Marks:
    """Offset to mark, in chunks: a million neighbouring offsets take 8 MB."""

    def __init__(self) -> None:
        self._chunks: dict[int, array[int]] = {}

    def __contains__(self, offset: int) -> bool:
        return self.get(offset) != 0

    def get(self, offset: int) -> int:
        """The mark; 0 for none."""
        chunk = self._chunks.get(offset // CHUNK)
        return chunk[offset % CHUNK] if chunk is not None else 0

    def lowest(self) -> int | None:
        """The first offset with a mark."""
        if not self._chunks:
            return None
        number = min(self._chunks)
        return number * CHUNK + next(place for place, mark in enumerate(self._chunks[number]) if mark)

    def set(self, offset: int, mark: int) -> None:
        """Note a mark, which must not be 0."""
        chunk = self._chunks.get(offset // CHUNK)
        if chunk is None:
            chunk = self._chunks[offset // CHUNK] = array("Q", bytes(8 * CHUNK))
        chunk[offset % CHUNK] = mark


def mark_of(outcome: Outcome) -> int:
    """The model version in the upper half, the labels in the lower; never 0.

    Whether a post counts as abstained follows a setting and is no label. Two labels share a mark once in 2^32.
    """
    event = outcome.event
    if event is None:
        return 1
    spans = [(entity.type, entity.start, entity.end) for entity in event.entities]
    labels = (event.language, event.sentiment.label, event.topic.label, spans)
    return _hash(event.model.version) << 32 | _hash(repr(labels)) | 1 << 32


def difference(first: int, later: int) -> Literal["none", "labels", "model"]:
    """How two marks of one record differ."""
    if first == later:
        return "none"
    return "labels" if first >> 32 == later >> 32 else "model"


def _hash(text: str) -> int:
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=4).digest(), "big") & _HALF
