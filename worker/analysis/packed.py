"""An answer of the model as bytes, to be kept outside of the process; exact, so that it stands for the model's own.

A header (the format, tokens, topics, CRC-32 of the rest), then the four arrays of `Logits` as little-endian float32.
Nothing in it is executed or says what it is an answer to.
"""

from __future__ import annotations

import struct
import zlib

import numpy as np

from worker.analysis.inference import SENTIMENTS, TAGS, Logits

FORMAT = b"pva1"
_HEADER = struct.Struct("<4sHHI")
_FLOAT = np.dtype("<f4")


def pack(answer: Logits, tokens: int) -> bytes:
    """An answer of one row, [1, ...], without what stands behind its first `tokens` tokens."""
    arrays = (answer.sentiment, answer.topic, answer.tags[:, :tokens], answer.token_sentiment[:, :tokens])
    numbers = b"".join(array.astype(_FLOAT).tobytes() for array in arrays)
    return _HEADER.pack(FORMAT, tokens, answer.topic.shape[1], zlib.crc32(numbers)) + numbers


def unpack(value: bytes, tokens: int, topics: int) -> Logits | None:
    """The answer to a window of `tokens` tokens by a model of `topics` topics, read-only; None when it is not that."""
    if len(value) < _HEADER.size:
        return None
    numbers = memoryview(value)[_HEADER.size :]
    if _HEADER.unpack_from(value) != (FORMAT, tokens, topics, zlib.crc32(numbers)):
        return None
    sizes = (SENTIMENTS, topics, tokens * TAGS, tokens * SENTIMENTS)
    if len(numbers) != _FLOAT.itemsize * sum(sizes):
        return None
    found = np.frombuffer(numbers, _FLOAT)
    if not np.isfinite(found).all():
        return None
    sentiment, topic, tags, token_sentiment = np.split(found.astype(np.float32, copy=False), np.cumsum(sizes[:-1]))
    return Logits(
        sentiment.reshape(1, SENTIMENTS),
        topic.reshape(1, topics),
        tags.reshape(1, tokens, TAGS),
        token_sentiment.reshape(1, tokens, SENTIMENTS),
    )
