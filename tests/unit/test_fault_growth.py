"""What `make soak` judges by: a planted growth is found, and noise is not taken for one."""

from __future__ import annotations

from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.fault.growth import FEWEST, risen, slope

SAMPLES = 300


def memory(growth: float, random: Random) -> tuple[list[float], list[float]]:
    """Millions of records, and MB with noise that lasts for some samples, as an allocator's does."""
    noise, x, y = 0.0, [], []
    for number in range(SAMPLES):
        noise = 0.8 * noise + random.gauss(0, 1)
        x.append(number * 5 / SAMPLES)
        y.append(400 + growth * x[-1] + noise)
    return x, y


@given(st.integers(-20, 20), st.integers(1, 50), st.integers(FEWEST, SAMPLES))
def test_a_line_without_noise_is_found(growth: int, length: int, samples: int) -> None:
    """The slope of a straight line is its own, and certain, from many samples or few."""
    x = [number * length / samples for number in range(samples)]
    found = slope(x, [growth * each for each in x])
    assert (found.value, found.high - found.low) == (pytest.approx(growth, abs=1e-6), pytest.approx(0, abs=1e-5))


def test_the_interval_holds_the_truth_as_often_as_it_says() -> None:
    """Of 200 runs whose noise lasts for some samples, at least 90 % of the intervals hold the planted slope."""
    random = Random(1)
    held = sum(found.low <= 2.0 <= found.high for found in (slope(*memory(2.0, random)) for _ in range(200)))
    assert held >= 180


def test_a_leak_is_told_from_none() -> None:
    """5 MB per million records are above 2, and 0 are below, on both ends of the interval."""
    assert slope(*memory(5.0, Random(2))).low > 2.0
    assert slope(*memory(0.0, Random(3))).high < 2.0


@pytest.mark.parametrize("x", [[float(each) for each in range(FEWEST - 1)], [1.0] * SAMPLES])
def test_too_little_is_refused(x: list[float]) -> None:
    """Neither a few samples nor a standstill have a slope."""
    with pytest.raises(ValueError, match="too few"):
        slope(x, x)


@given(st.lists(st.integers(0, 100), min_size=1))
def test_what_is_flat_has_not_risen(values: list[int]) -> None:
    """The same at the end as at the start is no rise; one more everywhere in the last third is one."""
    assert risen([7.0] * len(values)) == 0
    assert risen([*sorted(map(float, values))]) >= 0
