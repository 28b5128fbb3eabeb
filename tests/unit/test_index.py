"""The corrected index: unbiased, within bounds, moved by sentiment and not by mix."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import multinomial

from tests.opinion_index import CONFUSIONS, FINANCIAL, POOLED, SOCIAL, cell, independent, sides
from worker.opinion.cells import Cell
from worker.opinion.index.correction import (
    NET,
    TARGETS,
    Confusions,
    Correction,
    Floats,
    functionals,
    nearest_shares,
)
from worker.opinion.index.index import index, mix_of
from worker.opinion.index.point import IndexPoint
from worker.opinion.index.standard import Standard, Stratum, by_stratum
from worker.opinion.index.tally import Tally
from worker.opinion.index.weighed import weigh

shares = st.lists(st.floats(0, 1), min_size=3, max_size=3).filter(lambda s: sum(s) > 0.01)
STRATA = (("en", "social"), ("en", "financial"), ("de", "social"))
TRUE = np.array([0.3, 0.4, 0.3])


def expected(true: Floats, posts: float, language: str = "en", source_class: str = "social") -> Tally:
    """The labels that posts of these true shares have on average."""
    return independent(*(posts * true @ CONFUSIONS.correction(language, source_class).matrix))


def mixed(mix: tuple[float, ...], true: Floats = TRUE) -> dict[Cell, Tally]:
    return {cell(*stratum): expected(true, 1000 * share, *stratum) for stratum, share in zip(STRATA, mix, strict=True)}


def point(tallies: dict[Cell, Tally], standard: Standard) -> IndexPoint:
    found = index(tallies, standard, CONFUSIONS)
    assert found is not None
    return found


@given(true=shares)
def test_labels_as_the_matrix_predicts_give_the_true_shares(true: list[float]) -> None:
    """The correction undoes the confusions exactly, and abstaining tells as much as any label."""
    truth = np.array(true) / sum(true)
    correction = Correction.of(SOCIAL)
    assert correction.weights @ (truth @ correction.matrix) == pytest.approx(TARGETS @ truth, abs=1e-4)


def test_a_model_that_tells_nothing_gives_wide_intervals_and_no_error() -> None:
    """Rows that are equal cannot be solved; the point keeps to its bounds and its interval says so."""
    blind = Confusions.of([("en", "social", ((10, 10, 10, 5),) * 3, False)])
    tallies = {cell(): independent(100, 100, 100, 50)}
    found = index(tallies, Standard.of(tallies), blind)
    assert found is not None
    assert (found.net.low, found.net.high) == (-1, 1)
    assert found.negative.value + found.neutral.value + found.positive.value == pytest.approx(1)


@given(points=st.lists(st.lists(st.floats(-2, 2), min_size=3, max_size=3), min_size=1, max_size=4))
def test_the_nearest_shares_are_shares_and_nearest(points: list[list[float]]) -> None:
    """On the simplex, no further than any of its corners or its middle, and shares are left as they are."""
    given_shares = np.array(points)
    found = nearest_shares(given_shares)
    assert (found >= 0).all()
    assert found.sum(axis=-1) == pytest.approx(1)
    for other in [*np.eye(3), np.full(3, 1 / 3)]:
        away = ((given_shares - other) ** 2).sum(axis=-1)
        assert (((given_shares - found) ** 2).sum(axis=-1) <= away + 1e-9).all()
    assert nearest_shares(found) == pytest.approx(found)


@given(side=sides)
def test_every_number_is_within_its_bounds_and_its_interval(side: dict[Cell, Tally]) -> None:
    """Shares in [0, 1] that sum to 1, net sentiment their difference, every value inside its interval."""
    found = point(side, Standard.of(side))
    values = [found.negative, found.neutral, found.positive]
    assert sum(one.value for one in values) == pytest.approx(1)
    assert found.net.value == pytest.approx(found.positive.value - found.negative.value)
    assert all(0 <= one.low <= one.value <= one.high <= 1 for one in values)
    assert -1 <= found.net.low <= found.net.value <= found.net.high <= 1
    assert found.posts == pytest.approx(sum(tally.weight for tally in side.values()))


@given(mix=st.lists(st.floats(0.1, 1), min_size=3, max_size=3))
def test_a_change_of_mix_does_not_move_the_index(mix: list[float]) -> None:
    """Languages of different matrices in any mix, each with its own level: the index stays where it is."""
    usual = mixed((0.5, 0.3, 0.2))
    standard = Standard.of(usual)
    changed = {
        each: Tally(*(3 * part * share for part in tally[:4]), cluster_squares=9 * tally.weight * share**2)
        for (each, tally), share in zip(usual.items(), mix, strict=True)
    }
    assert point(changed, standard).net.value == pytest.approx(point(usual, standard).net.value, abs=1e-9)


@given(side=sides, window=sides, kept=st.floats(0.5, 1))
def test_usual_labels_are_the_mean_of_what_was_seen_and_weights_stay(
    side: dict[Cell, Tally], window: dict[Cell, Tally], kept: float
) -> None:
    """Of every stratum of the standard, what is remembered of the posts before and the window's, each by its weight."""
    before, strata = Standard.of(side), by_stratum(window)
    after = before.known_better(window, kept)
    assert [(one.stratum, one.weight) for one in after.shares] == [(one.stratum, one.weight) for one in before.shares]
    for old, new in zip(before.shares, after.shares, strict=True):
        now = strata.get(old.stratum, Tally())
        assert new.posts == pytest.approx(kept * old.posts + now.weight)
        seen = [kept * old.posts * usual + part for usual, part in zip(old.labels, now[:4], strict=True)]
        assert np.array(new.labels) * new.posts == pytest.approx(np.array(seen))


def test_with_few_posts_a_change_of_mix_moves_the_index_less_the_longer_the_labels_were_learned() -> None:
    """The usual labels of a few hours err; where fixed weights cannot be kept, that error must not stay for ever."""
    usual, mix = mixed((0.7, 0.2, 0.1)), (0.1, 0.2, 0.7)
    lucky = {each: Tally(*(tally[0] + 40, *tally[1:4]), tally.weight + 40) for each, tally in usual.items()}
    first = next(iter(usual))
    early = Standard.of(usual | {first: lucky[first]})
    late = early
    for _ in range(100):
        late = late.known_better(usual, 0.999)

    def moved(standard: Standard) -> float:
        few = {each: Tally(*(part / 40 for part in tally)) for each, tally in usual.items()}
        now = {
            each: Tally(*(part * share / tally.weight * 25 for part in tally))
            for (each, tally), share in zip(usual.items(), mix, strict=True)
        }
        return abs(point(now, standard).unbounded_net - point(few, standard).unbounded_net)

    assert moved(late) < moved(early) / 20


@given(mix=st.lists(st.floats(0.2, 1), min_size=3, max_size=3), moved=st.floats(-0.1, 0.1))
def test_weights_are_fixed_also_when_strata_move_apart(mix: list[float], moved: float) -> None:
    """With posts enough, a stratum's own shift counts with its fixed weight, whatever its part of the posts is."""
    standard = Standard.of(mixed((0.5, 0.3, 0.2)))
    shares = np.array(mix) / sum(mix)
    now = {
        cell(*stratum): expected(TRUE + np.array([-moved, 0, moved]) * place, 2000 * share, *stratum)
        for place, (stratum, share) in enumerate(zip(STRATA, shares, strict=True))
    }
    assert point(now, standard).net.value == pytest.approx(2 * moved * (0.3 * 1 + 0.2 * 2), abs=1e-4)


def test_an_empty_stratum_is_taken_to_have_moved_as_the_others() -> None:
    """It neither lends its weight to strata of another level nor holds the index back."""
    calm, angry = np.array([0.1, 0.5, 0.4]), np.array([0.6, 0.3, 0.1])
    usual = {cell("en"): expected(calm, 500), cell("de"): expected(angry, 500, "de")}
    standard = Standard.of(usual)
    without = point({cell("en"): usual[cell("en")]}, standard)
    assert without.net.value == pytest.approx(point(usual, standard).net.value)
    assert without.empty_weight == pytest.approx(0.5)
    dropped = point({cell("en"): expected(np.array([0.15, 0.5, 0.35]), 500)}, standard)
    assert dropped.net.value == pytest.approx(without.net.value - 0.1, abs=1e-4)


def test_copies_and_loud_authors_widen_the_interval() -> None:
    """A hundred posts in ten clusters tell as much as ten posts, and the point says so."""
    alone = {cell(): independent(30, 30, 30, 10)}
    clustered = {cell(): Tally(30, 30, 30, 10, cluster_squares=1000)}
    standard = Standard.of(alone)
    wide, narrow = point(clustered, standard), point(alone, standard)
    assert wide.effective_posts == pytest.approx(10)
    assert wide.sampling_variance == pytest.approx(10 * narrow.sampling_variance, rel=0.01)
    assert wide.net.high - wide.net.low > 1.8 * (narrow.net.high - narrow.net.low)


def test_the_error_of_the_matrix_stays_however_many_posts_there_are() -> None:
    """A million posts cannot be surer than the 530 that the matrix was counted on."""
    tallies = {cell(): expected(TRUE, 1e6)}
    found = point(tallies, Standard.of(tallies))
    assert found.matrix_variance > 100 * found.sampling_variance
    assert found.net.high - found.net.low > 3.5 * found.matrix_variance**0.5


def test_the_errors_of_two_matrices_are_independent() -> None:
    """Draws that went along would make the interval of several languages too wide, or too narrow."""
    other = tuple(tuple(count + 1 for count in row) for row in SOCIAL)
    labels = TRUE @ Correction.of(SOCIAL).matrix
    drawn = [Correction.of(counts).draws[:, NET] @ labels for counts in (SOCIAL, other, FINANCIAL, POOLED)]
    assert np.corrcoef(drawn)[np.triu_indices(4, 1)] == pytest.approx(0, abs=0.12)


def test_the_error_of_one_matrix_is_added_before_it_is_squared() -> None:
    """Three languages that share a matrix are not surer of it than one language is."""
    one = {cell("de"): expected(TRUE, 1e6, "de")}
    three = {cell(language): expected(TRUE, 1e6, language) for language in ("de", "pl", "nl")}
    alone, shared = (point(tallies, Standard.of(tallies)) for tallies in (one, three))
    assert shared.matrix_variance == pytest.approx(alone.matrix_variance)
    assert shared.neutral.high - shared.neutral.low == pytest.approx(alone.neutral.high - alone.neutral.low, rel=0.05)


def test_sampling_variance_is_unbiased_in_small_windows() -> None:
    """Over all windows that 20 posts can make: the labels tell a variance in part, and they fit themselves too well."""
    correction, standard = CONFUSIONS.correction("en", "social"), Standard.of({cell(): expected(TRUE, 100)})
    windows = np.array([labels for labels in product(range(21), repeat=4) if sum(labels) == 20], dtype=np.float64)
    chance = multinomial(20, TRUE @ correction.matrix).pmf(windows)
    weighed = weigh(windows[:, None], np.full((len(windows), 1), 20.0), mix_of(standard, [correction]))
    value, variance = weighed.value[:, NET], weighed.variance[:, NET]
    assert chance @ variance == pytest.approx(chance @ value**2 - (chance @ value) ** 2)


def test_languages_without_a_matrix_use_the_pooled_one() -> None:
    """Of their domain; a source class that names no domain is read as social."""
    pooled = Correction.of(POOLED)
    assert CONFUSIONS.correction("de", "forum") is pooled
    assert CONFUSIONS.correction("xx", "social") is pooled
    assert CONFUSIONS.correction("xx", "financial") is CONFUSIONS.correction("en", "financial")


def test_a_language_that_was_not_counted_is_as_unsure_as_languages_differ() -> None:
    """Its value is the pool's; its interval holds what each of the counted languages would be, read with the pool."""
    rows = [(f"l{number}", "social", counts, False) for number, counts in enumerate((SOCIAL, FINANCIAL, POOLED))]
    lent = Confusions.of(rows).correction("xx", "social")
    pool = Correction.of(Confusions.of(rows).pooled["social"])
    assert lent.weights is pool.weights
    for counts in (SOCIAL, FINANCIAL, POOLED):
        labels = TRUE @ Correction.of(counts).matrix
        low, high = np.quantile(lent.draws @ labels, (0.025, 0.975), axis=0)
        assert ((low <= TARGETS @ TRUE) & (high >= TARGETS @ TRUE)).all()
    labels = TRUE @ pool.matrix
    assert np.median(lent.draws @ labels, axis=0) == pytest.approx(pool.weights @ labels, abs=0.02)
    assert (lent.draws @ labels).std(axis=0).min() > 1.5 * (pool.draws @ labels).std(axis=0).max()


def test_languages_that_are_alike_lend_a_matrix_that_is_sure() -> None:
    """Where nothing differs, nothing is added to the error of the counts."""
    alike = Confusions.of([(language, "social", POOLED, False) for language in ("de", "pl", "nl")])
    lent = alike.correction("xx", "social")
    assert lent.draws == pytest.approx(Correction.of(alike.pooled["social"]).draws)


def test_what_cannot_be_corrected_is_said() -> None:
    """No matrix, a wrong one, no posts: an error that says what to do, or no point."""
    with pytest.raises(ValueError, match="without confusion matrices"):
        Confusions.of([])
    with pytest.raises(ValueError, match="3 classes by 4 labels"):
        Correction.of(((1, 2, 3), (1, 2, 3), (1, 2, 3)))
    with pytest.raises(ValueError, match="no posts"):
        Standard.of({cell(): Tally()})
    usual = {cell(): independent(1, 1, 1, 1)}
    assert index({cell("de"): independent(5, 5, 5, 5)}, Standard.of(usual), CONFUSIONS) is None


def test_topics_and_model_versions_are_summed_into_strata() -> None:
    """A stratum is a language in a source class."""
    one = independent(1, 2, 3, 4)
    found = by_stratum({cell(topic="a"): one, cell(topic="b"): one, cell("de"): one})
    assert found == {Stratum("en", "social"): one.plus(one), Stratum("de", "social"): one}


def test_the_same_tallies_give_the_same_point() -> None:
    """No chance is left in an interval: what is displayed twice is the same twice."""
    tallies = mixed((0.4, 0.3, 0.3))
    Correction.of.cache_clear()
    first = point(tallies, Standard.of(tallies))
    Correction.of.cache_clear()
    assert point(tallies, Standard.of(tallies)) == first


def test_functionals_of_many_matrices_are_those_of_each() -> None:
    """Leading axes are only that."""
    matrices = np.stack([Correction.of(SOCIAL).matrix, Correction.of(POOLED).matrix])
    assert functionals(matrices)[1, NET] == pytest.approx(Correction.of(POOLED).weights[NET])


def test_small_windows_are_unbiased_where_shares_are_near_their_bounds() -> None:
    """What detectors read has the right mean over windows of 8 posts; brought into bounds, it has not."""
    random, true = np.random.default_rng(3), np.array([0.02, 0.08, 0.9])
    standard = Standard.of({cell(): expected(true, 100)})
    labels = random.multinomial(8, true @ CONFUSIONS.correction("en", "social").matrix, size=600)
    points = [point({cell(): independent(*window.tolist())}, standard) for window in labels]
    error = np.std([one.unbounded_net for one in points]) / 600**0.5
    assert np.mean([one.unbounded_net for one in points]) == pytest.approx(0.88, abs=3.5 * error)
    assert np.mean([one.net.value for one in points]) < 0.88 - 5 * error
    assert np.mean([one.sampling_variance for one in points]) == pytest.approx(600 * error**2, rel=0.15)
