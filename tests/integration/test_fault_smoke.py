"""Short rows of the fault table: `make fault` runs all of them, with all their repeats."""

from __future__ import annotations

import pytest

from tests.fault.rig import Rig
from tests.fault.row import Row
from tests.fault.rows import redis_replies, seams, terms, triton_dies, unwritable
from tests.fault.run import run_row
from tests.fault.seams import SEAMS

pytestmark = pytest.mark.integration

SEED = 7
SHORT = [
    (seams.ROW, len(SEAMS)),
    (terms.ROW, 1),
    (triton_dies.DEADLY_RECORD, 1),
    (redis_replies.ROW, 30),
    (unwritable.ROW, 1),
]


@pytest.mark.parametrize(("row", "repeats"), SHORT, ids=lambda value: getattr(value, "number", None))
def test_row(rig: Rig, row: Row, repeats: int) -> None:
    """What the row promises holds, and `polyvox verify` finds nothing missing and no counter wrong."""
    result = run_row(row, rig, SEED, repeats)
    assert result.broken is None, result.line()
    assert result.figures.repeats == repeats
