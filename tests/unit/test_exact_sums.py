"""int8 products are summed exactly, with and without VNNI."""

import ast
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("onnx")

from onnxruntime import InferenceSession

from worker.analysis.onnx_session import SUMS_IN_32_BITS, saturates, session_options
from worker.model.onnx_graph import FLOAT, Graph, Port
from worker.model.onnx_linear import RowInt8Linear

WIDTH = 64
MODEL = Path(__file__).parents[2] / "triton_models" / "analyzer" / "1" / "model.py"


def test_the_largest_weights_on_the_largest_activations_do_not_saturate() -> None:
    """Pairs of products beyond 16 bits come out whole; x86 without VNNI halves them unless it is told otherwise."""
    graph = Graph()
    rows = graph.op("Shape", "rows", start=0, end=1)
    product = RowInt8Linear(graph, rows)("rows", np.ones((WIDTH, WIDTH), np.float32))
    graph.rename(product, "product")
    content = graph.model("sums", [Port("rows", FLOAT, ("R", WIDTH))], [Port("product", FLOAT, ("R", WIDTH))])
    session = InferenceSession(content, session_options(), providers=["CPUExecutionProvider"])
    [found] = session.run(None, {"rows": np.ones((3, WIDTH), np.float32)})
    np.testing.assert_allclose(found, WIDTH, rtol=1e-5)


@pytest.mark.parametrize(
    ("flags", "expected"),
    [
        ("fpu sse4_1 avx2 fma", True),
        ("avx2 avx512f avx512bw avx512vl", True),
        ("avx2 avx512f avx512_vnni avx512_bf16", False),
        ("avx2 avx_vnni", False),
        ("avx512f amx_tile amx_int8", False),
    ],
)
def test_the_slower_kernel_is_asked_for_only_without_vnni(flags: str, expected: bool, tmp_path: Path) -> None:
    """A processor with VNNI is exact already and keeps its speed."""
    info = tmp_path / "cpuinfo"
    info.write_text(f"processor\t: 0\nflags\t\t: {flags}\nbugs\t\t:\n\nprocessor\t: 1\nflags\t\t: {flags}\n")
    assert saturates(info) is expected


def test_a_system_that_does_not_describe_its_processor_is_served_exactly(tmp_path: Path) -> None:
    """Where nothing is known, right goes before fast."""
    assert saturates(tmp_path / "cpuinfo")


def test_triton_looks_at_the_same_flags() -> None:
    """model.py cannot import the worker, so it has a copy of the flags: the two must not drift apart."""
    [copy] = [node for node in ast.parse(MODEL.read_text()).body if getattr(node, "name", "") == "saturates"]
    [flags] = [node for node in ast.walk(copy) if isinstance(node, ast.Set)]
    assert ast.literal_eval(flags) == SUMS_IN_32_BITS
