"""How the exported graph multiplies by a linear layer's weight: in floats, or in int8 with one scale a row."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray
from onnx import TensorProto, helper

from worker.model.onnx_graph import MICROSOFT, Graph
from worker.model.quantise import INT8_LIMIT, quantise_columns

Precision = Literal["int8", "int4-embeddings", "float16", "float32"]
Range = Literal["symmetric", "gelu"]

SMALLEST_SCALE = 1e-8  # an all-zero row must not divide by zero
GELU_MINIMUM = -0.1702  # just below the least value that GELU takes


class Linear(Protocol):
    """Multiplies rows, floats [R, in], by a torch weight [out, in]; without a bias."""

    def __call__(self, rows: str, weight: NDArray[np.float32], values: Range = "symmetric") -> str:
        """Returns the name of [R, out], as precise as `rows`; `values` says what is known of the numbers in these."""
        ...


@dataclass
class FloatLinear:
    """The plain product, of rows of the type `numbers`."""

    graph: Graph
    numbers: type[np.floating]

    def __call__(self, rows: str, weight: NDArray[np.float32], values: Range = "symmetric") -> str:
        return self.graph.op("MatMul", rows, self.graph.constant(np.ascontiguousarray(weight.T, self.numbers)))


@dataclass(frozen=True)
class Encoding:
    """How a range of activations is laid on uint8: value = (code - zero) * scale, scale at least `least_scale`."""

    zero: int
    least_scale: float

    @property
    def steps(self) -> int:
        """Codes above zero."""
        return 255 - self.zero


ENCODINGS: dict[Range, Encoding] = {
    "symmetric": Encoding(255 - INT8_LIMIT, SMALLEST_SCALE),
    # GELU's output reaches far above zero and never below -0.17: three quarters of the codes go to the positive side.
    "gelu": Encoding(64, -GELU_MINIMUM / 64),
}


@dataclass
class RowInt8Linear:
    """int8 weights, one scale a column; uint8 activations, one scale a row, found as the row comes.

    A row's scale is its own, so a text's logits know nothing of its batch mates or of padding; integer sums are exact
    in any order. Activations are unsigned, for which x86 has the fast kernels (6 to 8 times as fast as signed ones).
    `row_count` names an int64 [1] vector that holds R. docs/decisions/int8.md has the measurements.
    """

    graph: Graph
    row_count: str
    _coded: dict[str, tuple[str, str]] = field(default_factory=dict)
    _zeros: dict[Range, str] = field(default_factory=dict)

    def __call__(self, rows: str, weight: NDArray[np.float32], values: Range = "symmetric") -> str:
        graph, columns = self.graph, quantise_columns(weight)
        if rows not in self._coded:  # query, key and value read the same rows
            self._coded[rows] = self._code(rows, values)
        codes, scales = self._coded[rows]
        one, zero = graph.constant(np.float32(1)), graph.constant(np.uint8(ENCODINGS[values].zero))
        # The operator takes one scale for all rows only; the rows' own follow as a product.
        product = graph.op(
            "MatMulIntegerToFloat",
            codes,
            graph.constant(columns.weight),
            one,
            graph.constant(columns.scales),
            zero,
            domain=MICROSOFT,
        )
        return graph.op("Mul", product, scales)

    def _code(self, rows: str, values: Range) -> tuple[str, str]:
        """Names of the uint8 codes [R, in] and of the float32 scales [R, 1]."""
        graph, encoding = self.graph, ENCODINGS[values]
        sizes = graph.op("Abs", rows) if values == "symmetric" else rows
        largest = graph.op("ReduceMax", sizes, graph.ints(1), keepdims=0)
        scales = graph.op("Mul", largest, graph.constant(np.float32(1 / encoding.steps)))
        scales = graph.op("Max", scales, graph.constant(np.float32(encoding.least_scale)))
        # Quantising "per axis" along the rows does in one pass what Div, Round, Clip and Cast would do in four.
        codes = graph.op("QuantizeLinear", rows, scales, self._zero_rows(values), axis=0)
        return codes, graph.op("Unsqueeze", scales, graph.ints(1))

    def _zero_rows(self, values: Range) -> str:
        """The zero code, once a row, as QuantizeLinear wants it."""
        if values not in self._zeros:
            zero = helper.make_tensor("zero", TensorProto.UINT8, [1], [ENCODINGS[values].zero])
            self._zeros[values] = self.graph.op("ConstantOfShape", self.row_count, value=zero)
        return self._zeros[values]
