"""Tests the tests: each planted bug makes its row of the fault table fail, by losing or by double counting."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.fault.mutants import MUTANTS, Mutant
from tests.fault.rig import Rig
from tests.fault.run import run_row

pytestmark = pytest.mark.integration

SEED = 7


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name)
def test_mutant_fails(rig: Rig, mutant: Mutant, tmp_path: Path) -> None:
    """The row that holds with the shipped code (`test_fault_smoke.py`) does not hold with the mutant."""
    result = run_row(mutant.row, rig, SEED, mutant.repeats, mutant.plant(tmp_path))
    assert mutant.judged(result).found, result.line()
