"""The contract between polyvox and whatever runs the model, the check of every answer, and a scripted fake.

Implementations: `triton.TritonInference`, `embedded.EmbeddedInference`, and `ScriptedInference` below for tests. The
same suite, `tests/contract/test_inference.py`, runs over all of them.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from worker.errors import InferenceRejected, InferenceUnavailable, ModelInvalid

SENTIMENTS = 3
TAGS = 7
OUTPUTS = ("sentiment_logits", "topic_logits", "tag_logits", "token_sentiment_logits")
"""The model's output names, in the order of the fields of `Logits`."""


@dataclass(frozen=True, slots=True)
class TokenBatch:
    """A rectangle of token ids; both arrays are int64 [B, T], B and T at least 1, mask 1 for real tokens."""

    input_ids: NDArray[np.int64]
    attention_mask: NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Logits:
    """The model's answer to a `TokenBatch`, row by row; K is the number of topics of the bundle.

    Rows do not depend on their batch mates or on padding (to 1e-3 in probability). What stands at padded positions
    of `tags` and `token_sentiment` is unspecified, but finite. `token_sentiment` is the sentiment head on each token's
    vector: the head is linear, so the mean over some tokens is its answer to their mean.
    """

    sentiment: NDArray[np.float32]  # [B, 3]
    topic: NDArray[np.float32]  # [B, K]
    tags: NDArray[np.float32]  # [B, T, 7]
    token_sentiment: NDArray[np.float32]  # [B, T, 3]


class Inference(Protocol):
    """A running model. One instance per event loop; `infer` may be called concurrently.

    No method blocks the event loop. Every wait is bounded by the deadline that the implementation was made with, and
    no call that a model may have seen is repeated: the caller decides what a failure means (an outage, a bad record, a
    wrong deployment).
    """

    async def check(self) -> None:
        """Compare the running model with the bundle: names, types, shapes, labels and, where it is told, the file.

        Raises:
            InferenceUnavailable: cannot be reached, or is still loading.
            ModelInvalid: something else is running than the bundle describes.
        """
        ...

    async def infer(self, batch: TokenBatch) -> Logits:
        """Run the model once. The answer has passed `validate`.

        Raises:
            InferenceUnavailable: away, overloaded or past the deadline; the same call may succeed later.
            InferenceRejected: the model refused this batch; a smaller batch or other texts may pass.
            ModelInvalid: the answer has wrong shapes or values, or the model is not there.
        """
        ...

    async def aclose(self) -> None:
        """Release connections and threads; idempotent. A call after it raises InferenceUnavailable."""
        ...


def validate(logits: Logits, batch: TokenBatch, topics: int) -> None:
    """Refuse an answer that no label may be made of (promise 2.6).

    Args:
        logits: the answer.
        batch: the question.
        topics: K, the number of topics of the bundle.

    Raises:
        ModelInvalid: a shape or type is not that of `Logits`, or a value is not finite.
    """
    rows, tokens = batch.input_ids.shape
    expected = {
        "sentiment": (rows, SENTIMENTS),
        "topic": (rows, topics),
        "tags": (rows, tokens, TAGS),
        "token_sentiment": (rows, tokens, SENTIMENTS),
    }
    for name, shape in expected.items():
        found: NDArray[np.float32] = getattr(logits, name)
        if found.shape != shape or found.dtype != np.float32:
            raise ModelInvalid(
                f"the model's {name} logits are {found.dtype}{list(found.shape)}, expected float32{list(shape)}: "
                "deploy the model that the bundle describes"
            )
        if not np.isfinite(found).all():
            raise ModelInvalid(f"the model's {name} logits hold NaN or infinity: the deployed model file is unusable")


Failure = Literal["outage", "wrong_shapes", "nan"]


@dataclass
class ScriptedInference:
    """A typed fake for tests: hash-derived logits of the real shapes, and failures on request.

    A row's logits depend on its real tokens only, like a real model's. Fields may be changed between calls.

    Args:
        topics: K, the number of topics of the bundle.
        rejected_id: batches that hold this token id are rejected.
        failure: what `infer` (and, for an outage, `check`) does instead of answering.
        calls: the shape [B, T] of each batch that reached `infer`, in order.
    """

    topics: int
    rejected_id: int | None = None
    failure: Failure | None = None
    calls: list[tuple[int, int]] = field(default_factory=list)
    closed: bool = False

    async def check(self) -> None:
        self._raise_when_away()

    async def infer(self, batch: TokenBatch) -> Logits:
        rows, tokens = batch.input_ids.shape
        self.calls.append((rows, tokens))
        self._raise_when_away()
        if self.rejected_id is not None and (batch.input_ids == self.rejected_id).any():
            raise InferenceRejected(f"scripted: a row holds token {self.rejected_id}")
        logits = self._logits(batch)
        validate(logits, batch, self.topics)
        return logits

    async def aclose(self) -> None:
        self.closed = True

    def _raise_when_away(self) -> None:
        if self.closed or self.failure == "outage":
            raise InferenceUnavailable("scripted: the model is away")

    def _logits(self, batch: TokenBatch) -> Logits:
        tokens = batch.input_ids.shape[1]
        # Knuth's multiplicative hash: well spread, and the same on every platform.
        ids = (batch.input_ids * batch.attention_mask * 2_654_435_761) % (1 << 32)
        sums = (ids * np.arange(1, tokens + 1)).sum(axis=1, keepdims=True)
        sentiment = _spread(sums + np.arange(SENTIMENTS))
        topic = _spread(sums + np.arange(10, 10 + self.topics))
        tags = _spread(ids[:, :, None] + np.arange(100, 100 + TAGS))
        token_sentiment = _spread(ids[:, :, None] + np.arange(200, 200 + SENTIMENTS))
        if self.failure == "nan":
            sentiment[0, 0] = np.nan
        if self.failure == "wrong_shapes":
            topic = topic[:, :-1]
        return Logits(sentiment, topic, tags, token_sentiment)


def _spread(seeds: NDArray[np.int64]) -> NDArray[np.float32]:
    """Numbers between -4 and 4 out of integers."""
    return ((seeds * 40_503 % 65_521) / 65_521 * 8 - 4).astype(np.float32)
