"""The wide part as operators of the exported graph: what `wide.WideTable` computes."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from worker.model.hashing import FIRST, PAIR, PRIME, SECOND, SINGLE
from worker.model.onnx_graph import FLOAT, INT64, Graph

PAST_THE_END = 2**31


def wide_logits(graph: Graph, weights: Mapping[str, NDArray[np.float32]], mask: str) -> str:
    """What is added to the topics' logits, float32 [B, K].

    Args:
        weights: with `wide.codes`, `wide.table` and `wide.scales`, whole numbers but the last.
        mask: float32 [B, T].
    """
    codes = graph.op("Gather", graph.constant(weights["wide.codes"].astype(np.int32)), "input_ids")
    codes = graph.op("Cast", codes, to=INT64)
    after = _after(graph, codes, _columns(graph, codes, 0, 1))
    pair = graph.op("Add", _times(graph, codes, FIRST), _times(graph, after, SECOND))
    hashes = graph.op("Concat", _plus(graph, _times(graph, codes, SINGLE), 1), _plus(graph, pair, PAIR), axis=1)
    table = weights["wide.table"].astype(np.int8)
    for divisor in (PRIME, len(table)):
        hashes = graph.op("Mod", hashes, graph.constant(np.int64(divisor)))
    rows = graph.op("Cast", graph.op("Gather", graph.constant(table), hashes), to=FLOAT)
    first = _columns(graph, mask, 0, 1)
    real = graph.op("Concat", mask, _after(graph, mask, graph.op("Sub", first, first)), axis=1)
    counted = graph.op("Unsqueeze", real, graph.ints(1))
    # Whole numbers below 2^24: the sum is exact in any order, whatever stands beside a text.
    steps = graph.op("Squeeze", graph.op("MatMul", counted, rows), graph.ints(1))
    logits = graph.op("Mul", steps, graph.constant(weights["wide.scales"]))
    length = graph.op("Sqrt", graph.op("ReduceSum", mask, graph.ints(1), keepdims=1))
    return graph.op("Div", logits, length)


def _after(graph: Graph, values: str, last: str) -> str:
    """What stands after each of T values, [B, T]; after the last, `last` [B, 1]. By operators that GPUs have too."""
    return graph.op("Concat", _columns(graph, values, 1, PAST_THE_END), last, axis=1)


def _columns(graph: Graph, values: str, start: int, end: int) -> str:
    """[B, start to end], the end exclusive."""
    return graph.op("Slice", values, graph.ints(start), graph.ints(end), graph.ints(1))


def _times(graph: Graph, values: str, factor: int) -> str:
    return graph.op("Mul", values, graph.constant(np.int64(factor)))


def _plus(graph: Graph, values: str, number: int) -> str:
    return graph.op("Add", values, graph.constant(np.int64(number)))
