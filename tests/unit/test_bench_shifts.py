"""The bench of index and shifts: rivals as they are, figures judged as stated, and its promises in the small."""

from __future__ import annotations

import json

import numpy as np
import pytest
from river.drift import PageHinkley

from bench.shifts import coverage, delays, planted, rivals, scenarios
from bench.shifts.__main__ import arguments, main
from bench.shifts.figures import Figure, poisson, share
from bench.shifts.rates import Installation
from bench.shifts.world import alike, learned, raw_net, windows


def test_page_hinkley_is_that_of_river() -> None:
    """The same windows signal, also after resets and with windows that have no value."""
    series = np.random.default_rng(1).normal(0, 0.2, (3000, 3))
    series[1000:, 1] -= 0.3
    series[1500:1510, 2] = np.nan
    signals = rivals.page_hinkley(series, 1.5, 0.02)
    assert signals.sum() > 5
    for key in range(3):
        detector = PageHinkley(min_instances=30, delta=0.02, threshold=1.5, alpha=0.9999, mode="both")
        for at, value in enumerate(series[:, key]):
            if not np.isnan(value):
                detector.update(value)
                assert signals[at, key] == detector.drift_detected


def test_a_rival_is_tuned_to_the_wanted_number_of_signals() -> None:
    """Within what nine halvings leave."""
    series = np.random.default_rng(2).normal(0, 1, (5000, 20))
    setting = rivals.tuned(lambda s, v: rivals.fixed_threshold(s, v, 500), series, (0.1, 8), 200)
    assert rivals.fixed_threshold(series, setting, 500).sum() == pytest.approx(200, rel=0.1)
    assert rivals.sigma_rule(series, 3.0, 500)[500:].mean() == pytest.approx(0.0027, rel=0.2)


@pytest.mark.parametrize("regime", [1, 5])
def test_intervals_cover_the_truth_in_the_small(regime: int) -> None:
    """300 runs, so within 3 standard errors of 0.95; the bench has 4,000 and more kinds of windows."""
    for figure in coverage.measure(300, 3, [coverage.REGIMES[regime]]):
        if figure.ok is not None:  # others are only reported
            assert figure.value == pytest.approx(0.95, abs=0.038), figure.name


def test_half_the_posts_seen_twice_is_half_the_posts() -> None:
    """Keys that share posts hold sums and halves of the topics' labels."""
    random = np.random.default_rng(4)
    installation = Installation.of(50, random, shared=True)
    _, labels = next(windows(installation.world, range(1), random))
    seen = installation.seen(labels, random)
    assert seen.shape[0] == 50
    assert seen[40:42].sum() == labels.sum()
    assert seen[42:].sum() == pytest.approx(labels[installation.halved].sum() / 2, rel=0.2)


def test_the_limit_shrinks_with_posts_and_with_the_drop() -> None:
    """The optimal delay is shorter the more is seen, and never under a window and the settling lag."""
    few, many = alike(1, 200), alike(1, 1000)
    waits = [delays.optimal_h(few, drop, 1 / 30) for drop in delays.DROPS]
    assert waits == sorted(waits, reverse=True)
    assert 1 / 12 < delays.optimal_h(many, 0.3, 1 / 30) < waits[-1]
    assert delays.optimal_h(few, 0.15, 1 / 300) > delays.optimal_h(few, 0.15, 1 / 30)


def test_windows_have_the_labels_that_the_matrices_predict() -> None:
    """Uncorrected, a balanced world is not balanced; its standard knows how it is labelled."""
    random = np.random.default_rng(5)
    world = alike(40, 6000)
    labels = np.mean([seen for _, seen in windows(world, range(50), random)], axis=0)
    expected = (world.mix[0][:, None] * world.labels[0])[None]
    assert raw_net(labels).mean() == pytest.approx(raw_net(expected)[0], abs=0.005)
    assert learned(world, 24, random).mix.weights[0] == pytest.approx(world.mix[0], abs=0.01)


def test_planted_causes_are_found_in_the_small() -> None:
    """The sum is exact; of 40 cases hardly one names another cause."""
    figures = {figure.name: figure for figure in planted.measure(40, 6)}
    assert figures["decomposition.sum_error"].ok
    assert figures["decomposition.cause_first"].value >= 0.9


def test_a_scenario_is_judged_beside_its_control() -> None:
    """More signals of the same keys than chance explains is a miss; rivals are only reported."""
    calm, loud = np.repeat([0, 1], [75, 25]), np.repeat([0, 1], [50, 50])
    control = scenarios.Outcome("control", {"polyvox": calm, "adwin": calm})
    worse = scenarios.Outcome("copies", {"polyvox": loud, "adwin": loud * 9})
    other = scenarios.Outcome("double_volume", {"polyvox": calm[::-1], "adwin": calm})
    shown = {figure.name: figure for figure in scenarios.figures([control, worse, other])}
    assert shown["false_more_than_control.copies"].ok is False
    assert shown["false_more_than_control.double_volume"].ok is True
    assert shown["false_per_key_week.copies.adwin"].ok is None
    assert shown["false_per_key_week.control.polyvox"].value == 0.25


def test_copies_are_matched_with_their_control() -> None:
    """The same posts but for the story that is copied, which our detectors read once."""
    span = scenarios.FIRST, scenarios.END
    both = [scenarios.seen(name, 2, (1, 2), span) for name in ("control", "copies")]
    seen = [(labels, flooded - labels, copies) for (labels, _), (flooded, copies) in zip(*both, strict=True)]
    assert sum(more.sum() for _, more, _ in seen) == 2
    assert sum(copies.sum() for *_, copies in seen) == pytest.approx(2 * scenarios.COPIES)


def test_intervals_of_counts() -> None:
    """Exact ones: none of nothing is possible, and wider than the value."""
    assert poisson(0, 10) == pytest.approx((0, 0, 0.369), abs=1e-3)
    assert share(95, 100)[1] < 0.95 < share(95, 100)[2]


def test_the_last_line_names_every_figure_and_every_miss(capsys: pytest.CaptureFixture[str]) -> None:
    """One JSON object, whatever was run; a part alone writes no page."""
    assert main(arguments(["--only", "decomposition", "--scale", "0.05"])) == 0
    found = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert found["misses"] == len(found["missed"])
    assert found["decomposition.sum_error"]["ok"] is True
    assert Figure("x", 1.23456, "reported", ok=None).summary() == {"value": 1.235, "target": "reported"}
