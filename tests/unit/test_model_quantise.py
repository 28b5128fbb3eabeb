"""Weights in fewer bits, and the folder they are served from."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray

from worker.errors import ModelInvalid
from worker.model.onnx_bundle import changed_configs, replace_folder
from worker.model.quantise import Blocks, pack_blocks, quantise_columns, unpack_blocks

CONFIG = Path(__file__).parents[2] / "triton_models" / "analyzer" / "config.pbtxt"


@given(
    arrays(np.uint8, (3, 4, 16), elements=st.integers(0, 255)),
    arrays(np.float16, (3, 4), elements=st.floats(2**-10, 8, width=16)),
    arrays(np.bool_, (3, 4)),
)
def test_four_bit_blocks_come_back_bit_for_bit(nibbles: Any, scales: Any, negative: Any) -> None:
    """A matrix that once was in 4-bit blocks loses nothing when it is packed again."""
    nibbles[:, :, 0] &= 0xF0  # ggml's scale gives the extreme weight of a block the code 0
    blocks = Blocks(nibbles.reshape(3, 64), np.where(negative, -scales, scales).astype(np.float16))
    matrix = unpack_blocks(blocks)
    assert np.array_equal(unpack_blocks(pack_blocks(matrix)), matrix)


@given(arrays(np.float32, (2, 64), elements=st.floats(-4, 4, width=32)))
def test_any_weight_is_packed_to_within_a_step(matrix: NDArray[np.float32]) -> None:
    """Packing moves no weight by more than an eighth of its block's largest, and rounding of the scale."""
    error = np.abs(unpack_blocks(pack_blocks(matrix)) - matrix).reshape(2, 2, 32)
    largest = np.abs(matrix).reshape(2, 2, 32).max(axis=2, keepdims=True)
    assert (error <= largest * 0.1255 + 1e-6).all()


def test_rows_that_blocks_do_not_divide_are_refused() -> None:
    """A width that is no multiple of the block length is an error, not a silent cut."""
    with pytest.raises(ValueError, match="48"):
        pack_blocks(np.ones((2, 48), np.float32))


# A scale below the smallest normal float32 has no precision to speak of; no weight is that small.
WEIGHTS = st.floats(-4, 4, width=32).map(lambda value: value if abs(value) > 1e-6 else 0.0)


@given(arrays(np.float32, (5, 8), elements=WEIGHTS))
def test_columns_keep_their_own_scale(weight: NDArray[np.float32]) -> None:
    """An int8 weight is within half a step of its own column's scale; a column of zeros stays one."""
    columns = quantise_columns(weight)
    error = np.abs(columns.weight.T * columns.scales[:, None] - weight)
    assert (error <= columns.scales[:, None] * 0.501).all()
    assert columns.weight.shape == (8, 5)


def test_a_failed_write_leaves_the_old_bundle(tmp_path: Path) -> None:
    """When a file cannot be written, every file of the folder is still the old one."""
    folder = tmp_path / "1"
    replace_folder(folder, {"a": b"old", "b": b"old"})
    with pytest.raises(FileNotFoundError):
        replace_folder(folder, {"a": b"new", "no such folder/b": b"new"})
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == {"a": b"old", "b": b"old"}
    replace_folder(folder, {"a": b"new"})
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == {"a": b"new", "b": b"old"}
    assert [path.name for path in tmp_path.iterdir()] == ["1"]


def test_a_swap_cut_short_is_mended(tmp_path: Path) -> None:
    """A process killed between the two renames leaves no folder: the next export takes up what the old one held."""
    folder = tmp_path / "1"
    replace_folder(folder, {"model.py": b"code"})
    folder.rename(tmp_path / ".1.old")
    replace_folder(folder, {"model.onnx": b"weights"})
    assert {path.name for path in folder.iterdir()} == {"model.py", "model.onnx"}


def test_a_configuration_without_a_place_for_the_version_is_refused(tmp_path: Path) -> None:
    """A configuration that does not say which bundle it is for would let the worker mislabel events."""
    text = CONFIG.read_text()
    (tmp_path / "config.pbtxt").write_text(text.replace("bundle_version", "other"))
    with pytest.raises(ModelInvalid, match="0 places"):
        changed_configs(tmp_path, 5, "analyzer:1.0.0+01234567")
