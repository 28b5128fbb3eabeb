"""Rates and spreads of the bench."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.measure import Measured, Spread, middle_rate, moment_s, progress_of, ratios, used_s
from worker.errors import ConfigInvalid


@given(rate=st.floats(1, 10_000), start_s=st.floats(0, 1e6), count=st.integers(100, 1000))
def test_a_steady_run_has_its_rate(rate: float, start_s: float, count: int) -> None:
    """Posts that are done at an even pace have that pace, whenever the run began."""
    progress = progress_of(start_s + number / rate for number in range(1, count + 1))
    assert middle_rate(progress, count) == pytest.approx(rate, rel=0.02)


def test_a_slow_start_and_a_slow_end_do_not_count() -> None:
    """What happens before a fifth and after four fifths of the posts are done changes nothing."""
    steady = progress_of(number / 100 for number in range(1000))
    disturbed = progress_of([-60.0, *(number / 100 for number in range(1, 999)), 80.0])
    assert middle_rate(disturbed, 1000) == pytest.approx(middle_rate(steady, 1000), rel=0.01)


def test_polled_totals_and_single_completions_agree() -> None:
    """The rate does not depend on how often progress was looked at."""
    seen_singly = progress_of(number / 50 for number in range(1, 1001))
    polled = [(seconds / 2, min(1000, 25 * seconds)) for seconds in range(41)]
    assert middle_rate(polled, 1000) == pytest.approx(middle_rate(seen_singly, 1000), rel=0.01)


def test_batches_that_complete_at_one_moment_count_at_that_moment() -> None:
    """Posts with one timestamp are all done then, not spread over the time before."""
    progress = progress_of([1.0] * 100 + [2.0] * 100)
    assert moment_s(progress, 100) == 1.0
    assert moment_s(progress, 101) == 2.0


def test_a_run_that_is_not_complete_has_no_rate() -> None:
    """A rate over posts that were never done is refused."""
    with pytest.raises(ValueError, match="200 posts wanted, 2 done"):
        middle_rate(progress_of([1.0, 2.0]), 1000)
    with pytest.raises(ValueError, match="0 done"):
        middle_rate([], 1000)


def test_a_run_shorter_than_the_clock_can_tell_is_refused() -> None:
    """Timestamps are milliseconds: a run within one of them asks for more posts."""
    with pytest.raises(ConfigInvalid, match="--posts"):
        middle_rate(progress_of([5.0] * 100), 100)


def test_work_done_out_of_order_is_not_counted_twice() -> None:
    """As many posts wait for an older one at the start as at the end of what is measured: the rate is the model's."""
    pool = 100
    published = [(second, max(0, min(1000, 100 * second) - pool)) for second in range(11)]
    assert middle_rate([*published, (11, 1000)], 1000) == pytest.approx(100, rel=0.01)


def test_a_last_step_is_measured_from_the_start_of_the_first() -> None:
    """A step that begins late and then catches up is no faster than what it waited for."""
    first = progress_of(number / 100 for number in range(1, 1001))
    last = progress_of(9 + number / 1000 for number in range(1, 1001))
    assert middle_rate(last, 1000, first) == pytest.approx(600 / (9.8 - 2), rel=0.01)


def test_ratios_are_taken_repeat_by_repeat() -> None:
    """A repeat in which everything is slow does not change the ratio."""
    assert ratios([90, 45, 9], [100, 50, 10]) == Spread(0.9, 0.9, 0.9)
    assert Spread.of([3, 1, 2]) == Spread(1, 2, 3)


@given(lump=st.integers(1, 400), rate=st.floats(10, 1000))
def test_a_contender_that_writes_in_lumps_has_its_rate(lump: int, rate: float) -> None:
    """Posts that are written a thousand at a time are counted where they are written, not where a fifth ends."""
    progress = progress_of((number // lump + 1) * lump / rate for number in range(2000))
    assert middle_rate(progress, 2000) == pytest.approx(rate, rel=0.001)


def test_processor_time_is_that_of_the_measured_middle() -> None:
    """A costly start does not count; what Triton used meanwhile stands beside it."""
    progress = progress_of(10 + number / 100 for number in range(1, 1001))
    contender = [(0.0, 0.0), (10.0, 30.0), (20.0, 35.0)]
    measured = Measured.of(progress, 1000, {"contender": contender, "triton": [(10.0, 0.0), (20.0, 10.0)]})
    assert measured.posts_per_s == pytest.approx(100)
    assert (measured.cpu_s, measured.triton_cpu_s) == (pytest.approx(5), pytest.approx(10))


def test_no_samples_are_no_processor_time() -> None:
    """A contender that ended before the first sample divides by nothing."""
    assert used_s([], 0, 1) == 0
