"""A small network for the tests of the export: random weights by torch's names, and rows of tokens."""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from onnxruntime import InferenceSession

from worker.analysis.onnx_session import session_options
from worker.model.quantise import pack_blocks, unpack_blocks

VOCABULARY, WIDTH, POSITIONS, LAYERS, HEADS, TOPICS = 60, 64, 64, 2, 4, 5
PAD = 1
OUTPUTS = ("sentiment_logits", "topic_logits", "tag_logits", "token_sentiment_logits")

Floats = NDArray[np.float32]
Run = Callable[[list[list[int]], int], list[Floats]]


def collate(rows: list[list[int]], tokens: int) -> dict[str, NDArray[np.int64]]:
    """Rows padded to `tokens` with an id that also occurs as a token, so that only the mask tells."""
    batch = {name: np.zeros((len(rows), tokens), np.int64) for name in ("input_ids", "attention_mask")}
    batch["input_ids"][:] = PAD
    for at, row in enumerate(rows):
        batch["input_ids"][at, : len(row)] = row
        batch["attention_mask"][at, : len(row)] = 1
    return batch


def probabilities(logits: Floats) -> Floats:
    """Softmax along the last axis."""
    powers = np.exp(logits - logits.max(axis=-1, keepdims=True))
    shares: Floats = powers / powers.sum(axis=-1, keepdims=True)
    return shares


def random_weights(wide_rows: int = 0) -> dict[str, Floats]:
    """A state of `MultiTaskBert`, by torch's names, with 4-bit embeddings as the real base has.

    With `wide_rows` it has a wide part of so many rows, whose pieces have other codes than their ids.
    """
    random = np.random.default_rng(7)
    state: dict[str, Floats] = {}

    def linear(name: str, outputs: int, inputs: int) -> None:
        state[f"{name}.weight"] = random.normal(0, 1.5 * inputs**-0.5, (outputs, inputs)).astype(np.float32)
        state[f"{name}.bias"] = random.normal(0, 0.2, outputs).astype(np.float32)

    def norm(name: str) -> None:
        state[f"{name}.weight"] = random.uniform(0.5, 1.5, WIDTH).astype(np.float32)
        state[f"{name}.bias"] = random.normal(0, 0.2, WIDTH).astype(np.float32)

    tables = {"word": VOCABULARY, "position": POSITIONS, "token_type": 2}
    for name, rows in tables.items():
        state[f"encoder.embeddings.{name}_embeddings.weight"] = random.normal(size=(rows, WIDTH)).astype(np.float32)
    words = "encoder.embeddings.word_embeddings.weight"
    state[words] = unpack_blocks(pack_blocks(state[words]))
    norm("encoder.embeddings.LayerNorm")
    for layer in range(LAYERS):
        prefix = f"encoder.encoder.layer.{layer}."
        for part in ("query", "key", "value"):
            linear(f"{prefix}attention.self.{part}", WIDTH, WIDTH)
        linear(f"{prefix}attention.output.dense", WIDTH, WIDTH)
        linear(f"{prefix}intermediate.dense", 4 * WIDTH, WIDTH)
        linear(f"{prefix}output.dense", WIDTH, 4 * WIDTH)
        norm(f"{prefix}attention.output.LayerNorm")
        norm(f"{prefix}output.LayerNorm")
    for head, columns in {"sentiment": 3, "topic": TOPICS, "tags": 7}.items():
        linear(head, columns, WIDTH)
    if wide_rows:
        state["wide.codes"] = random.permutation(100_000)[:VOCABULARY].astype(np.float32)
        state["wide.table"] = random.integers(-127, 128, (wide_rows, TOPICS)).astype(np.float32)
        state["wide.scales"] = random.uniform(0.001, 0.02, TOPICS).astype(np.float32)
    return state


def session(content: bytes) -> Run:
    """Run a serialised model on rows padded to a length."""
    running = InferenceSession(content, session_options(), providers=["CPUExecutionProvider"])

    def run(rows: list[list[int]], tokens: int) -> list[Floats]:
        outputs: list[Floats] = running.run(OUTPUTS, collate(rows, tokens))
        return outputs

    return run
