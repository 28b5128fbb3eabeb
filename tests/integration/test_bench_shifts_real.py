"""Real labelled posts the real way: a worker analyses them, Redis counts them, and a planted cause is named."""

from __future__ import annotations

import pytest

from bench.shifts.real import measure

pytestmark = pytest.mark.integration


def test_planted_causes_and_copies_are_found_in_real_posts() -> None:
    """Few cases, so most of them; the parts sum to the shift exactly, and copies are told as copies."""
    found = {figure.name: figure for figure in measure(12, 5)}
    assert found["real_posts.sum_error"].ok
    assert found["real_posts.copies_recognised"].ok
    assert found["real_posts.cause_first"].value >= 0.75
