"""What a large installation needs follows from what was measured, and the page says it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.measure import Measured
from bench.scale.grown import Grown, Load
from bench.scale.page import PICTURE, costs_of, render
from bench.scale.picture import draw
from bench.scale.plan import BUSY, DAY_S, PEAK, Costs, needs

COSTS = Costs(worker_s=1.0, triton_s=4.0, redis_s=0.2, worker_posts_per_s=1000, worker_mb=450)


def test_a_plan_is_reckoned_by_hand() -> None:
    """86.4 million posts a day are 1,000 a second on average, and twice that in the busiest hour."""
    found = needs(1000 * DAY_S, COSTS)
    assert found.posts_per_s == pytest.approx(1000 * PEAK)
    assert found.worker_cores == pytest.approx(2000 * 1.0 / 1000 / BUSY)
    assert found.triton_cores == pytest.approx(4 * found.worker_cores)
    assert found.workers == 4
    assert found.redis == 1
    assert found.redis_gb == pytest.approx(86.4 * 2 * 0.37)
    assert found.paid_cores == pytest.approx(2000 * 5e-3 / BUSY + 86.4 * 2 * 0.37 / 4)


def test_a_worker_has_one_processor() -> None:
    """Where its time with the real model is the narrower limit, there are as many workers as processors for them."""
    slow = replace(COSTS, worker_s=2.0)
    assert needs(1000 * DAY_S, slow).workers == 7


def test_few_posts_share_less_of_redis() -> None:
    """Below 50 a second a million posts take more memory."""
    assert needs(49 * DAY_S, COSTS).redis_gb > needs(51 * DAY_S, COSTS).redis_gb


@given(posts=st.floats(1e3, 1e10), more=st.floats(1, 100))
def test_more_posts_never_need_less(posts: float, more: float) -> None:
    """And a worker never has more than its measured rate, nor less than one partition."""
    one, other = needs(posts, COSTS), needs(posts * more, COSTS)
    assert other.workers >= one.workers
    assert other.redis >= one.redis
    assert one.posts_per_s <= one.workers * COSTS.worker_posts_per_s
    assert one.partitions >= one.workers


def test_the_page_holds_every_run_and_its_rules(tmp_path: Path) -> None:
    """The largest run of the curve gives the costs of Redis; the real model's those of worker and Triton."""
    grid = [Grown(Load(20_000, workers), Measured(900.0, 0.6, 0.1), 0.2, 450.0 * workers, 8.0) for workers in (1, 2)]
    curve = [
        Grown(Load(posts), Measured(900.0, 0.6, 0.1), 0.2, 450.0, posts / 1e6 * 400) for posts in (10_000, 100_000)
    ]
    real = Grown(Load(3000, null=False), Measured(280.0, 1.0, 6.0), 0.2, 440.0, 2.0)
    costs = costs_of(curve[-1], real)
    assert (costs.worker_s, costs.triton_s, costs.worker_posts_per_s) == (1.0, 6.0, 900.0)
    page = render({"processor": "x"}, grid, curve, real)
    assert "| 100,000 | 900 |" in page
    assert "| 1,000,000,000 |" in page
    draw(tmp_path / PICTURE, grid, curve)
    assert f"]({PICTURE})" in page
    assert "8 partitions" in (tmp_path / PICTURE).read_text()
