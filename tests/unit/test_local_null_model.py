"""The null analyzer stands in for the analyzer, so it must look like it from outside."""

import re

from worker.settings import REPOSITORY

INTERFACE = re.compile(r"max_batch_size: \d+|\{ name: [^}]*data_type: [^}]*\}")


def test_the_null_analyzer_has_the_analyzers_interface() -> None:
    """Same inputs and outputs, types, sizes and largest batch: the worker compares them with its bundle at start."""
    null, real = (
        INTERFACE.findall((REPOSITORY / models / "analyzer" / "config.pbtxt").read_text())
        for models in ("tests/models/null", "triton_models")
    )
    assert null == real
    assert len(null) == 7
