"""The exported graph by itself: a text has the same logits in any company."""

from typing import Literal

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

onnx = pytest.importorskip("onnx")

from tests.small_network import HEADS, LAYERS, VOCABULARY, Run, random_weights, session  # noqa: E402 - after the skip
from worker.model import onnx_bert  # noqa: E402

# How far logits may move in company: where float32 differs in its last bit, float16 may round the other way.
SAME: dict[Literal["int8", "float16", "float32"], float] = {"int8": 1e-5, "float16": 5e-3, "float32": 1e-5}
SHAPE = onnx_bert.Shape(LAYERS, HEADS, 1e-12)

token_rows = st.lists(st.lists(st.integers(0, VOCABULARY - 1), min_size=2, max_size=40), min_size=1, max_size=6)


@pytest.fixture(scope="module")
def contents() -> dict[str, bytes]:
    """The serialised graph of each precision."""
    return {name: onnx_bert.build(random_weights(wide_rows=32), SHAPE, name) for name in SAME}


@pytest.fixture(scope="module")
def run(contents: dict[str, bytes]) -> dict[str, Run]:
    return {name: session(content) for name, content in contents.items()}


@pytest.mark.parametrize("precision", SAME)
@settings(max_examples=40, deadline=None)
@given(rows=token_rows, extra=st.integers(0, 24))
def test_logits_do_not_depend_on_batch_mates_or_padding(
    precision: Literal["int8", "float16", "float32"], run: dict[str, Run], rows: list[list[int]], extra: int
) -> None:
    """A text alone has the logits that it has beside any others, however far they are padded."""
    together = run[precision](rows, max(map(len, rows)) + extra)
    for at, row in enumerate(rows):
        alone = run[precision]([row], len(row))
        assert np.abs(together[0][at] - alone[0][0]).max() < SAME[precision]
        assert np.abs(together[1][at] - alone[1][0]).max() < SAME[precision]
        assert np.abs(together[2][at, : len(row)] - alone[2][0]).max() < SAME[precision]


def test_int8_shrinks_the_file(contents: dict[str, bytes]) -> None:
    """int8 takes a third of float32 even here, where positions and heads weigh much; both are valid ONNX."""
    for content in contents.values():
        onnx.checker.check_model(onnx.load_from_string(content))
    narrow = {name: onnx_bert.build(random_weights(), SHAPE, name) for name in ("int8", "float32")}
    assert len(narrow["int8"]) < len(narrow["float32"]) / 3


def test_runtimes_of_the_supported_containers_can_read_it(contents: dict[str, bytes]) -> None:
    """Opset 18 and IR version 8 are what onnxruntime 1.14 reads, the oldest that the containers from 23.04 on hold."""
    for content in contents.values():
        model = onnx.load_from_string(content)
        assert model.ir_version <= 8
        assert {each.domain: each.version for each in model.opset_import} == {"": 18, "com.microsoft": 1}
