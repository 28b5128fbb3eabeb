"""Planted cases of real posts: what is planted is the one thing that changes."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.shifts.analysed import Labelled
from bench.shifts.real import BOTH_CLASSES, SMALLEST_SHIFT, Pool, Side, _case
from tests.opinion_outcomes import Words, post
from worker.opinion.index.correction import Floats
from worker.opinion.shifts.shapley import FACTORS
from worker.opinion.shifts.words import Factor

LANGUAGES = (BOTH_CLASSES, "id", "th", "pt")


def labelled(language: str, source_class: str, topic: str, gold: int) -> Labelled:
    event = post(0, Words(language=language, source_class=source_class, topic=topic)).event
    assert event is not None
    return Labelled(event, gold)


def pool_of() -> Pool:
    """Four languages, one with both source classes, three topics, all labels in each."""
    return Pool.of(
        [
            labelled(language, source_class, topic, gold)
            for language in LANGUAGES
            for source_class in (("social", "financial") if language == BOTH_CLASSES else ("social",))
            for topic in ("a", "b", "c")
            for gold in (-1, 0, 1)
            for _ in range(5)
        ]
    )


POOL = pool_of()


def shares(weights: Floats, parts: int) -> Floats:
    """What each language, or language and source class, or cell, has of all draws."""
    _, groups = np.unique(POOL.group[:, :parts], axis=0, return_inverse=True)
    return np.bincount(groups, weights)


def within(weights: Floats) -> Floats:
    """How often each post is drawn among those of its cell."""
    _, groups = np.unique(POOL.group, axis=0, return_inverse=True)
    of_cell = np.bincount(groups, weights)[groups]
    return np.divide(weights, of_cell, out=np.zeros_like(weights), where=of_cell > 0)


@given(factor=st.sampled_from(FACTORS), seed=st.integers(0, 2**32))
def test_one_planted_cause_is_the_only_change(factor: Factor, seed: int) -> None:
    """Shares, or the posts of each cell, whatever is not planted stays; and the annotators' labels show the shift."""
    before, after = _case(factor, POOL, np.random.default_rng(seed))
    assert (before.sum(), after.sum()) == pytest.approx((1, 1))
    assert abs((after - before) @ POOL.gold) >= SMALLEST_SHIFT
    if factor == "sentiment":
        assert shares(after, 3) == pytest.approx(shares(before, 3))
        return
    drawn = (before > 0) & (after > 0)
    assert within(after)[drawn] == pytest.approx(within(before)[drawn])
    if factor != "language_mix":
        assert shares(after, 1) == pytest.approx(shares(before, 1))
    if factor == "topic_mix":
        assert shares(after, 2) == pytest.approx(shares(before, 2))


def test_groups_have_the_shares_that_they_are_given() -> None:
    """Also where a language has one source class alone."""
    side = Side(
        (np.array([0.4, 0.3, 0.3, 0.0]), np.array([0.25, 0.75]), np.array([0.2, 0.3, 0.5])),
        (np.zeros(4), np.zeros(2), np.zeros(3)),
    )
    weights = side.weights(POOL)
    assert shares(weights, 1) == pytest.approx([0.4, 0.3, 0.3, 0.0])
    assert shares(weights, 2)[:2] == pytest.approx([0.4 * 0.25, 0.4 * 0.75])
    assert shares(weights, 3)[:3] == pytest.approx(0.4 * 0.25 * np.array([0.2, 0.3, 0.5]))


def test_what_has_few_posts_is_left_out() -> None:
    """A language, or a topic in it, of which a case could draw hardly any post."""
    few = [labelled("ko", "social", "a", 1)] * 39 + [labelled("pt", "social", "rare", 1)] * 2
    assert len(Pool.of([*POOL.posts, *few]).posts) == len(POOL.posts)
