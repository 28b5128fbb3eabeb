"""A small writer of ONNX graphs: constants, operators, and the finished model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

OPSET = 18  # the first with BitwiseAnd; onnxruntime 1.14 and later
IR_VERSION = 8  # the one of opset 18: older runtimes refuse newer files
MICROSOFT = "com.microsoft"  # onnxruntime's own operators
SHARED_BYTES = 256  # constants up to this size are written once and shared

FLOAT, FLOAT16, INT64 = TensorProto.FLOAT, TensorProto.FLOAT16, TensorProto.INT64


@dataclass(frozen=True)
class Port:
    """A graph input or output: its name, ONNX element type and shape (names for the sizes that vary)."""

    name: str
    element_type: int
    shape: tuple[str | int, ...]


@dataclass
class Graph:
    """Collects nodes in order of execution; values are passed about by their names."""

    nodes: list[Any] = field(default_factory=list)
    constants: list[Any] = field(default_factory=list)
    _shared: dict[tuple[bytes, str, tuple[int, ...]], str] = field(default_factory=dict)

    def constant(self, value: NDArray[Any] | np.generic) -> str:
        """Store a constant; returns its name."""
        array = np.asarray(value)
        key = (array.tobytes() if array.nbytes <= SHARED_BYTES else b"", str(array.dtype), array.shape)
        if key[0] and key in self._shared:
            return self._shared[key]
        name = f"constant_{len(self.constants)}"
        self.constants.append(numpy_helper.from_array(array, name))
        if key[0]:
            self._shared[key] = name
        return name

    def ints(self, *values: int) -> str:
        """A constant int64 vector: a shape, or axes."""
        return self.constant(np.array(values, np.int64))

    def op(self, kind: str, *inputs: str, domain: str = "", **attributes: Any) -> str:
        """Add an operator with one output; returns that output's name."""
        output = f"{kind}_{len(self.nodes)}"
        self.nodes.append(helper.make_node(kind, list(inputs), [output], name=output, domain=domain, **attributes))
        return output

    def rename(self, value: str, name: str) -> None:
        """Make `value` known as `name`, as a graph output must be."""
        self.nodes.append(helper.make_node("Identity", [value], [name], name=name))

    def model(self, name: str, inputs: Sequence[Port], outputs: Sequence[Port]) -> bytes:
        """The finished, checked model, serialised."""
        ports = [
            [helper.make_tensor_value_info(p.name, p.element_type, p.shape) for p in side] for side in (inputs, outputs)
        ]
        graph = helper.make_graph(self.nodes, name, ports[0], ports[1], self.constants)
        opsets = [helper.make_opsetid("", OPSET), helper.make_opsetid(MICROSOFT, 1)]
        model = helper.make_model(graph, opset_imports=opsets, ir_version=IR_VERSION, producer_name="polyvox")
        onnx.checker.check_model(model)
        content: bytes = model.SerializeToString()
        return content
