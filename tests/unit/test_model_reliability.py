"""Calibration: figures against hand-made cases, a temperature that mends what it can and changes no answer."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from worker.model.reliability import (
    HOTTEST,
    ReliabilityError,
    bins,
    confusion,
    coverage,
    cross_fitted,
    ece,
    ece_interval,
    recalibrated,
    temperature,
    verdicts,
)


def drawn(rows: int, classes: int = 3, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Probabilities, and a right class drawn from each row's: a calibrated model by construction."""
    rng = np.random.default_rng(seed)
    probabilities = rng.dirichlet(np.ones(classes), rows)
    right = (probabilities.cumsum(axis=1) > rng.random((rows, 1))).argmax(axis=1)
    return probabilities, np.eye(classes, dtype=bool)[right]


def heads(smallest: float = 1e-6) -> st.SearchStrategy[tuple[np.ndarray, np.ndarray]]:
    """(probabilities, gold) of up to 30 rows of 2 to 5 classes; gold has any number of classes, at least one."""

    @st.composite
    def build(draw):
        rows, classes = draw(st.integers(1, 30)), draw(st.integers(2, 5))
        weights = st.floats(smallest, 1.0)
        shares = np.array(draw(st.lists(weights, min_size=rows * classes, max_size=rows * classes))).reshape(rows, -1)
        masks = draw(st.lists(st.integers(1, 2**classes - 1), min_size=rows, max_size=rows))
        gold = np.array([[mask >> column & 1 for column in range(classes)] for mask in masks], bool)
        return shares / shares.sum(axis=1, keepdims=True), gold

    return build()


def test_ece_by_hand():
    """Two of four in (0.8, 0.9] right at 0.9 and one of one at 0.6: (4 * |0.5 - 0.9| + 1 * |1 - 0.6|) / 5."""
    confidence, correct = np.array([0.9, 0.9, 0.9, 0.9, 0.6]), np.array([True, True, False, False, True])
    assert ece(confidence, correct) == pytest.approx((4 * 0.4 + 0.4) / 5)
    table = bins(confidence, correct)
    assert [(found.low, found.rows) for found in table if found.rows] == [(0.5, 1), (0.8, 4)]
    assert table[8].accuracy == 0.5
    assert table[8].confidence == pytest.approx(0.9)


def test_edges_belong_to_the_bin_below():
    """Bins are (low, high], for every tenth, and 0 is in the first."""
    tenths = np.array([number / 10 for number in range(11)])
    assert [found.rows for found in bins(tenths, np.ones(11, bool))] == [2] + [1] * 9


def test_coverage_by_hand():
    """A confidence at the threshold is answered; nothing left has no accuracy."""
    points = {point.threshold: point for point in coverage(np.array([0.5, 0.8]), np.array([False, True]))}
    assert (points[0.0].coverage, points[0.0].accuracy) == (1.0, 0.5)
    assert points[0.5].coverage == 1.0
    assert (points[0.55].coverage, points[0.55].accuracy) == (0.5, 1.0)
    assert (points[0.85].coverage, points[0.85].accuracy) == (0.0, None)
    assert list(points) == [pytest.approx(number / 20) for number in range(20)]


def test_confusion_by_hand():
    """Rows are the truth, columns the answers, and an abstention hides what would have been answered."""
    gold, answered = np.array([0, 0, 1, 2]), np.array([0, 2, 1, 2])
    counts = confusion(gold, answered, np.array([False, False, True, False]))
    assert counts.tolist() == [[1, 0, 1, 0], [0, 0, 0, 1], [0, 0, 1, 0]]
    with pytest.raises(ReliabilityError, match="4 true classes"):
        confusion(gold, answered[:3], np.zeros(4, bool))


def test_a_calibrated_model_has_a_small_error_and_a_temperature_of_one():
    """Its interval reaches 0, and recalibrating it by folds does no harm."""
    probabilities, gold = drawn(6_000)
    assert ece(*verdicts(probabilities, gold)) < 0.03
    assert ece_interval(*verdicts(probabilities, gold))[0] < 0.005
    assert temperature(probabilities, gold) == pytest.approx(1.0, abs=0.05)
    assert ece(*verdicts(cross_fitted(probabilities, gold), gold)) < 0.03


@pytest.mark.parametrize("factor", [0.4, 2.5])
def test_the_temperature_undoes_a_known_one(factor):
    """A calibrated model made too sure or too shy by T is found to be so by 1/T, and cross-fitting mends its error."""
    probabilities, gold = drawn(6_000)
    wrong = recalibrated(probabilities, factor)
    assert temperature(wrong, gold) == pytest.approx(1 / factor, rel=0.06)
    assert ece(*verdicts(wrong, gold)) > 0.1
    assert ece(*verdicts(cross_fitted(wrong, gold), gold)) < 0.03


def test_each_row_is_recalibrated_by_the_others_alone():
    """What is right in one row does not change that row's own answer, but does change others'."""
    probabilities, gold = drawn(40)
    before = cross_fitted(probabilities, gold)
    changed = gold.copy()
    changed[7] = np.roll(gold[7], 1)
    moved = ~np.isclose(before, cross_fitted(probabilities, changed), rtol=1e-9, atol=0).all(axis=1)
    assert not moved[7]
    assert moved.sum() == 40 - 8


def test_sets_of_right_classes_count_by_their_sum():
    """Rows whose set holds every class say nothing: the others alone decide."""
    probabilities, gold = drawn(2_000)
    broad = np.concatenate([probabilities, probabilities]), np.concatenate([gold, np.ones_like(gold)])
    assert temperature(*broad) == pytest.approx(temperature(probabilities, gold), rel=1e-3)


def test_impossible_classes_stay_impossible():
    """A probability of 0 is a class that the source cannot name: no temperature gives it a share."""
    probabilities = np.array([[0.7, 0.3, 0.0], [0.4, 0.6, 0.0]])
    found = recalibrated(probabilities, np.array([0.5, 3.0]))
    assert found[:, 2].tolist() == [0.0, 0.0]
    assert found.sum(axis=1) == pytest.approx(1.0)


def test_hopeless_or_misshapen_arrays_are_named():
    """No row, a right class of probability 0, other shapes, and logits in the place of probabilities."""
    with pytest.raises(ReliabilityError, match="row 1"):
        temperature(np.array([[0.5, 0.5], [1.0, 0.0]]), np.array([[True, False], [False, True]]))
    with pytest.raises(ReliabilityError, match=r"\(2, 3\)"):
        temperature(np.full((2, 3), 1 / 3), np.ones((2, 2), bool))
    with pytest.raises(ReliabilityError, match="0 confidences"):
        ece(np.array([]), np.array([], bool))
    with pytest.raises(ReliabilityError, match="not logits"):
        ece(np.array([3.0]), np.array([True]))
    with pytest.raises(ReliabilityError, match="not logits"):
        ece(np.array([np.nan]), np.array([True]))


def test_extremes_end_at_the_bounds():
    """Where nothing is right no heat is enough; and no rows leave the answers as they are."""
    assert temperature(np.full((5, 2), (0.9, 0.1)), np.full((5, 2), (False, True))) == pytest.approx(HOTTEST, rel=1e-3)
    assert temperature(np.empty((0, 3)), np.empty((0, 3), bool)) == 1.0
    one, right = np.array([[0.6, 0.4]]), np.array([[True, False]])
    assert cross_fitted(one, right) == pytest.approx(one)


@given(heads())
@settings(max_examples=40)
def test_errors_are_shares_and_their_interval_holds(head):
    """ECE lies in 0 to 1 and is what the bins say; its interval is in order and the same every time."""
    confidence, correct = verdicts(*head)
    error = ece(confidence, correct)
    table = bins(confidence, correct)
    assert 0.0 <= error <= 1.0
    assert sum(found.rows for found in table) == len(correct)
    assert error == pytest.approx(sum(f.rows * abs(f.accuracy - f.confidence) for f in table) / len(correct))
    low, high = ece_interval(confidence, correct, resamples=20)
    assert 0.0 <= low <= high
    assert (low, high) == ece_interval(confidence, correct, resamples=20)


@given(heads())
@settings(max_examples=40)
def test_less_is_covered_as_the_threshold_rises(head):
    """From everything, never more."""
    shares = [point.coverage for point in coverage(*verdicts(*head))]
    assert shares[0] == 1.0
    assert shares == sorted(shares, reverse=True)


@given(heads(smallest=1e-3))
@settings(max_examples=25)
def test_no_temperature_changes_an_answer(head):
    """The likeliest class keeps its place, and rows stay probabilities."""
    probabilities, gold = head
    for found in (cross_fitted(probabilities, gold), recalibrated(probabilities, temperature(probabilities, gold))):
        assert found.sum(axis=1) == pytest.approx(1.0)
        best = probabilities.argmax(axis=1)
        rows = np.arange(len(best))
        assert found[rows, best] == pytest.approx(found.max(axis=1))
