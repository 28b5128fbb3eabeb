"""Weights in fewer bits: embeddings as 4-bit blocks, linear layers as 8-bit columns. Pure functions over numpy."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

BLOCK = 32  # weights under one scale; the base encoder's own block length
HALF = BLOCK // 2
NIBBLE_ZERO = 8  # the nibble that stands for 0
INT8_LIMIT = 127


class Blocks(NamedTuple):
    """A matrix [V, D] in 4-bit blocks, the layout that ggml calls Q4_0.

    `nibbles` is uint8 [V, D / 2]: within a block byte j holds weight j (low half) and weight j + 16 (high half).
    `scales` is float16 [V, D / 32]; a weight is (nibble - 8) * scale.
    """

    nibbles: NDArray[np.uint8]
    scales: NDArray[np.float16]


class Columns(NamedTuple):
    """A linear layer's weight for `x @ weight`: int8 [in, out], and float32 [out] scales, one a column."""

    weight: NDArray[np.int8]
    scales: NDArray[np.float32]


def pack_blocks(matrix: NDArray[np.float32]) -> Blocks:
    """Pack float32 [V, D] (D a multiple of 32) into 4-bit blocks.

    Weights that were unpacked from such blocks come back bit for bit, as long as some nibble of each block is 0 (-8):
    ggml scales a block so that its extreme weight gets that nibble. So a base that ships in 4 bits loses nothing.

    Raises:
        ValueError: D is not a multiple of 32.
    """
    rows, width = matrix.shape
    if width % BLOCK:
        raise ValueError(f"rows of {width} weights do not divide into blocks of {BLOCK}")
    blocks = matrix.reshape(rows, width // BLOCK, BLOCK)
    extreme = np.take_along_axis(blocks, np.abs(blocks).argmax(axis=2)[..., None], axis=2)[..., 0]
    scales = (extreme / -NIBBLE_ZERO).astype(np.float16)
    divisors = np.where(scales == 0, 1, scales).astype(np.float32)[..., None]
    values = np.clip(np.rint(blocks / divisors) + NIBBLE_ZERO, 0, 15).astype(np.uint8)
    nibbles = values[..., :HALF] | (values[..., HALF:] << 4)
    return Blocks(nibbles.reshape(rows, width // 2), scales)


def unpack_blocks(blocks: Blocks) -> NDArray[np.float32]:
    """The float32 [V, D] matrix that `blocks` stands for; what the exported graph computes for the rows it gathers."""
    rows, half_width = blocks.nibbles.shape
    packed = blocks.nibbles.reshape(rows, -1, HALF)
    values = np.concatenate([packed & 15, packed >> 4], axis=2).astype(np.float32) - NIBBLE_ZERO
    matrix: NDArray[np.float32] = values * blocks.scales.astype(np.float32)[..., None]
    return matrix.reshape(rows, half_width * 2)


def quantise_columns(weight: NDArray[np.float32]) -> Columns:
    """Quantise a torch `Linear` weight, float32 [out, in], symmetrically with one scale an output column."""
    scales = np.abs(weight).max(axis=1) / INT8_LIMIT
    scales = np.where(scales == 0, 1, scales).astype(np.float32)
    values = np.clip(np.rint(weight / scales[:, None]), -INT8_LIMIT, INT8_LIMIT).astype(np.int8)
    return Columns(np.ascontiguousarray(values.T), scales)
