"""The file in triton_models/: what promise 6 of the design asks of it."""

import json
from pathlib import Path

import numpy as np
import pytest

from tests.small_network import probabilities, session
from worker.analysis.bundle import Bundle

SHIPPED = Path(__file__).parents[2] / "triton_models" / "analyzer" / "1"
SAMPLES = Path(__file__).parents[2] / "samples"


def sample_texts(count: int) -> list[str]:
    """Texts of the shipped samples, social and financial in turn; lines that are no post are left out."""
    texts: list[str] = []
    for path in sorted(SAMPLES.glob("*.jsonl")):
        for line in path.read_bytes().splitlines():
            try:
                post = json.loads(line)
            except ValueError:
                continue
            if isinstance(post, dict) and isinstance(text := post.get("text"), str) and len(text) < 2000:
                texts.append(text.encode("utf-8", "replace").decode())
    return texts[:: max(1, len(texts) // count)][:count]


@pytest.mark.slow
def test_a_thousand_texts_alone_and_in_random_batches() -> None:
    """The shipped file: equal labels, and probabilities within 0.001, whatever rides along."""
    bundle = Bundle.load(SHIPPED)
    run = session((SHIPPED / "model.onnx").read_bytes())
    rows = [encoding.ids[: bundle.window_tokens] for encoding in bundle.tokenizer.encode_batch(sample_texts(1000))]
    assert len(rows) == 1000
    alone = [run([row], len(row)) for row in rows]
    order = np.random.default_rng(5).permutation(len(rows))
    for start in range(0, len(rows), 16):
        chosen = order[start : start + 16]
        together = run([rows[at] for at in chosen], max(len(rows[at]) for at in chosen))
        for place, at in enumerate(chosen):
            for mixed, single in zip(together, alone[at], strict=True):
                real = slice(len(rows[at])) if mixed.ndim == 3 else slice(None)
                one, other = mixed[place][real], single[0]
                assert np.array_equal(one.argmax(axis=-1), other.argmax(axis=-1))
                assert np.abs(probabilities(one) - probabilities(other)).max() < 1e-3
