"""What `polyvox calibrate` chooses: never beyond the bound, never slower than the best by more than the noise."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.windows import window
from worker.analysis.batching import TokenBudget
from worker.analysis.batching_file import Figures
from worker.errors import PolyvoxError
from worker.tuning.choice import (
    ALWAYS_REPEATED,
    HOPELESS_LATENCY,
    HOPELESS_SPEED,
    IN_FLIGHT,
    POSTS,
    TIE_SHARE,
    TOKENS,
    Run,
    Way,
    choose,
    figures_of,
    grid,
    worth_repeating,
)
from worker.tuning.measure import batches

RATES = st.floats(0.5, 50_000.0)
TIMES_MS = st.floats(0.1, 2_000.0)
WAYS = st.builds(Way, st.sampled_from(POSTS), st.sampled_from(TOKENS), st.sampled_from(IN_FLIGHT))
RUNS = st.builds(Run, RATES, st.lists(TIMES_MS, min_size=1, max_size=5).map(tuple), st.just(100), st.integers(100, 300))
MEASURED = st.dictionaries(WAYS, st.lists(RUNS, min_size=1, max_size=4), min_size=1, max_size=12)


def figures(way: Way, rates: tuple[float, ...], p95_ms: float = 10.0) -> Figures:
    return figures_of(way, [Run(rate, (p95_ms,), 100, 110) for rate in rates])


@given(MEASURED, TIMES_MS)
def test_the_choice_keeps_the_bound_and_is_as_fast_as_the_best_within_the_margin(
    measured: dict[Way, list[Run]], latency_ms: float
):
    """And nothing smaller is as fast; where no way keeps the bound, nothing is chosen."""
    found = [figures_of(way, runs) for way, runs in measured.items()]
    allowed = [each for each in found if each.p95_ms <= latency_ms]
    if not allowed:
        with pytest.raises(PolyvoxError, match="--latency-ms"):
            choose(found, latency_ms)
        return
    chosen = choose(found, latency_ms)
    assert chosen.p95_ms <= latency_ms
    best = max(allowed, key=lambda each: each.median_posts_per_s)
    enough = max(best.min_posts_per_s, (1 - TIE_SHARE) * best.median_posts_per_s)
    assert chosen.median_posts_per_s >= enough
    sizes = [(each.batch_posts, each.batch_tokens) for each in allowed if each.median_posts_per_s >= enough]
    assert (chosen.batch_posts, chosen.batch_tokens) == min(sizes)


def test_ties_go_to_the_smaller_batch_and_noise_alone_is_no_excuse():
    """A median within the best one's own runs is a tie; one that the share excludes is not, however noisy they are."""
    large, small = Way(64, 8192, 3), Way(8, 512, 2)
    assert choose([figures(large, (96, 100, 104)), figures(small, (97, 97, 97))], 500).batch_posts == small.posts
    assert choose([figures(large, (99, 100, 101)), figures(small, (97, 97, 97))], 500).batch_posts == large.posts
    assert choose([figures(large, (10, 100, 190)), figures(small, (94, 94, 94))], 500).batch_posts == large.posts
    assert choose([figures(large, (99, 100, 101), 501), figures(small, (5, 5, 5))], 500).batch_posts == small.posts


def test_one_lucky_run_chooses_nothing():
    """The median of the runs counts, not the fastest."""
    lucky, steady = Way(8, 512, 1), Way(16, 512, 1)
    assert choose([figures(lucky, (50, 50, 500)), figures(steady, (99, 100, 101))], 500).batch_posts == steady.posts


@given(MEASURED)
def test_figures_are_those_of_all_runs(measured: dict[Way, list[Run]]):
    """Minimum, median and maximum in order, and at least 95 % of all batches within the p95, fewer below it."""
    for way, runs in measured.items():
        found = figures_of(way, runs)
        assert found.runs == len(runs)
        assert found.min_posts_per_s <= found.median_posts_per_s <= found.max_posts_per_s
        times = [round(time, 3) for run in runs for time in run.latencies_ms]
        assert sum(time <= found.p95_ms for time in times) >= 0.95 * len(times)
        assert sum(time < found.p95_ms for time in times) < 0.95 * len(times)


@given(st.dictionaries(WAYS, RUNS, min_size=1, max_size=30), TIMES_MS)
def test_what_may_be_chosen_is_repeated(first: dict[Way, Run], latency_ms: float):
    """The choice of the first round, the fastest within the bound, and all that are near; what is hopeless is not."""
    repeated = worth_repeating(first, latency_ms)
    found = {way: figures_of(way, [run]) for way, run in first.items()}
    within = [way for way in found if found[way].p95_ms <= latency_ms]
    if not within:
        assert set(repeated) == set(first)
        return
    best = max(found[way].median_posts_per_s for way in within)
    for way, each in found.items():
        near = each.median_posts_per_s >= HOPELESS_SPEED * best
        assert way in repeated or not near or each.p95_ms > HOPELESS_LATENCY * latency_ms
        assert way not in repeated or near or way in within
    assert len(set(repeated) & set(within)) >= min(ALWAYS_REPEATED, len(within))


@given(st.sampled_from(POSTS), st.integers(16, 512), st.integers(1, 4096))
def test_the_grid_asks_for_what_the_model_takes_and_nothing_twice(most: int, longest: int, pool_posts: int):
    """No batch is larger than the model takes; no budget makes the batches of another one; one way there always is."""
    ways = grid(most, longest, pool_posts)
    assert ways == sorted(set(ways))
    assert all(way.posts <= most for way in ways)
    assert Way(1, TOKENS[0], 1) in ways
    made: dict[tuple[int, int], list[list[int]]] = {}
    posts = [[window(longest)] for _ in range(max(POSTS))]
    for way in ways:
        made[way.posts, way.tokens] = [
            [each.length for each in batch] for batch in batches(posts, TokenBudget(way.tokens, way.posts), 512)
        ]
    assert len({(posts_, str(each)) for (posts_, _), each in made.items()}) == len(made)
