"""From signals to what an alert says: control over all keys, parts of a shift, terms."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.opinion_index import CONFUSIONS, KEY, cell, independent, sides
from worker.opinion.cells import Cell
from worker.opinion.index.standard import Standard
from worker.opinion.index.tally import Tally
from worker.opinion.shifts.contrast import contrasts
from worker.opinion.shifts.control import MARGIN, select
from worker.opinion.shifts.describe import describe, related, spans
from worker.opinion.shifts.limits import Limits
from worker.opinion.shifts.shapley import FACTORS, decompose
from worker.opinion.shifts.words import Key, Signal, Span

WEEK_S = 7 * 86_400


def signal(rate: float, key: Key = KEY, end_s: int = 10 * WEEK_S) -> Signal:
    return Signal(
        key=key,
        span=Span(end_s - 300, end_s),
        direction="down",
        since_s=end_s - 3600,
        size=-0.2,
        false_per_day=rate,
        first=True,
        epoch=0,
    )


def many(rates: list[float]) -> list[Signal]:
    return [signal(rate, Key("entity", (str(number),))) for number, rate in enumerate(rates)]


def test_one_signal_of_many_keys_must_be_as_rare_as_the_whole_installation_may_be_wrong() -> None:
    """With 500 keys and one false alert a day, each key alone has a five-hundredth of it."""
    limit = MARGIN / 500
    assert select(many([limit * 0.99]), 500, Limits())
    assert select(many([limit * 1.01]), 500, Limits()) == []
    assert select(many([limit * 1.01]), 500, Limits(false_alerts_per_day=2))


def test_many_at_once_need_less_each() -> None:
    """Ten equal signals together are believed at ten times the rate."""
    assert len(select(many([9.9 * MARGIN / 500] * 10), 500, Limits())) == 10
    assert select(many([9.9 * MARGIN / 500] * 9), 500, Limits()) == []


@given(rates=st.lists(st.floats(1e-6, 0.1), max_size=20), stricter=st.floats(0.1, 1))
def test_the_chosen_are_the_strongest_and_fewer_with_a_stricter_limit(rates: list[float], stricter: float) -> None:
    """In any order of the signals."""
    chosen = select(many(rates), 100, Limits())
    assert sorted(one.false_per_day for one in chosen) == sorted(rates)[: len(chosen)]
    assert select(many(rates)[::-1], 100, Limits()) == chosen
    assert len(select(many(rates), 100, Limits(false_alerts_per_day=stricter))) <= len(chosen)


@given(before=sides, after=sides)
def test_the_parts_sum_to_the_shift_and_turn_with_it(before: dict[Cell, Tally], after: dict[Cell, Tally]) -> None:
    """Within 1e-9; the way back has the same parts with the other sign."""
    moved, parts = decompose(before, after, CONFUSIONS)
    assert [part.factor for part in parts] == list(FACTORS)
    assert sum(part.value for part in parts) == pytest.approx(moved, abs=1e-9)
    back, turned = decompose(after, before, CONFUSIONS)
    assert back == pytest.approx(-moved, abs=1e-9)
    assert [part.value for part in turned] == pytest.approx([-part.value for part in parts], abs=1e-9)


@given(side=sides, times=st.floats(0.1, 10))
def test_more_of_the_same_moves_nothing(side: dict[Cell, Tally], times: float) -> None:
    """A change of volume alone has no shift and no parts."""
    scaled = {
        each: Tally(*(times * part for part in tally[:4]), cluster_squares=tally.cluster_squares * times**2)
        for each, tally in side.items()
    }
    moved, parts = decompose(side, scaled, CONFUSIONS)
    assert [moved, *(part.value for part in parts)] == pytest.approx([0] * 5, abs=1e-9)


def scene(
    english: float = 0.5, financial: float = 0.5, sport: float = 0.5, more_negative: int = 0
) -> dict[Cell, Tally]:
    """Everything in one place is happier by language, source class and topic; sentiment can be lowered."""
    found = {}
    for language, of_language in (("en", english), ("de", 1 - english)):
        for source, of_source in (("financial", financial), ("social", 1 - financial)):
            for topic, of_topic in (("sport", sport), ("crime", 1 - sport)):
                happy = 10 * (language == "en") + 10 * (source == "financial") + 10 * (topic == "sport")
                posts = 4000 * of_language * of_source * of_topic
                labels = 40 - happy + more_negative, 20, 30 + happy - more_negative, 10
                found[cell(language, source, topic)] = independent(*(posts * part / 100 for part in labels))
    return found


@pytest.mark.parametrize(
    ("change", "factor"),
    [
        ({"english": 0.3}, "language_mix"),
        ({"financial": 0.3}, "source_mix"),
        ({"sport": 0.3}, "topic_mix"),
        ({"more_negative": 8}, "sentiment"),
    ],
)
def test_a_single_cause_has_the_whole_shift(change: dict[str, float], factor: str) -> None:
    """Of one planted change, its factor carries everything and the others nothing."""
    moved, parts = decompose(scene(), scene(**change), CONFUSIONS)
    assert moved < -0.01
    for part in parts:
        assert part.value == pytest.approx(moved if part.factor == factor else 0, abs=0.1 * abs(moved))


def test_a_language_that_comes_is_a_change_of_mix() -> None:
    """What only one side has is never a change of sentiment."""
    before = {cell("en"): independent(30, 40, 30, 10)}
    after = before | {cell("de"): independent(300, 40, 30, 10)}
    moved, parts = decompose(before, after, CONFUSIONS)
    assert moved < 0
    assert parts[0].value == pytest.approx(moved)


def test_a_topic_of_one_post_tells_little_of_its_sentiment() -> None:
    """That it grows is hardly a change of topic mix towards what its single post said."""
    before = {cell(topic="a"): independent(300, 400, 300, 100), cell(topic="b"): independent(0, 0, 1, 0)}
    after = {cell(topic="a"): independent(300, 400, 300, 100), cell(topic="b"): independent(300, 400, 300, 100)}
    moved, parts = decompose(before, after, CONFUSIONS)
    assert abs(moved) < 0.01
    assert abs(parts[FACTORS.index("topic_mix")].value) < 0.05


def test_a_side_without_posts_is_refused() -> None:
    """There is nothing to compare."""
    with pytest.raises(ValueError, match="none"):
        decompose({}, {cell(): independent(1, 1, 1, 1)}, CONFUSIONS)


def test_a_shift_is_compared_with_the_same_hours_of_the_week_before() -> None:
    """With a week of history; else with the stretch right before it."""
    one = signal(0.001)
    before, after = spans(one, observed_s=3 * WEEK_S)
    assert after == Span(one.since_s, one.span.end_s)
    assert (before.start_s, before.end_s) == (after.start_s - WEEK_S, after.end_s - WEEK_S)
    assert spans(one, observed_s=86_400)[0] == Span(after.start_s - 3600, after.start_s)


def test_a_description_holds_both_sides_and_the_parts() -> None:
    """Index before and after with intervals, parts that sum to what moved, the models of both spans."""
    before, after = scene(), scene(more_negative=8)
    shift = describe(signal(0.001), 3 * WEEK_S, (before, after), (Standard.of(before), CONFUSIONS))
    assert shift.before.net.value > shift.after.net.high
    assert sum(part.value for part in shift.contributions) == pytest.approx(shift.moved, abs=1e-9)
    assert shift.moved == pytest.approx(shift.after.net.value - shift.before.net.value, abs=0.02)
    assert len(shift.model_versions) == 1


def test_related_keys_are_of_another_kind() -> None:
    """A language's topic and a source class hold the same posts; two topics of a language do not."""
    topic, entity = signal(0.001), signal(0.001, Key("entity", ("apple",)))
    source = signal(0.001, Key("source_class", ("social",)))
    assert related(topic, [topic, entity, source]) == (entity.key, source.key)


def test_terms_that_tell_come_before_frequent_and_rare_ones() -> None:
    """A word that rose clearly is first; one that is frequent on both sides, or was seen once, is not."""
    before = {"the": 5000, "a": 4000, "strike": 10, "sun": 60}
    after = {"the": 5000, "a": 4000, "strike": 120, "sun": 12, "once": 1}
    found = contrasts(before, after, 5)
    assert [one.term for one in found[:2]] == ["strike", "sun"]
    assert found[0].z > 5 > -3 > found[1].z
    assert abs(found[-1].z) < 2
    assert contrasts({}, after, 3) == ()
    assert [one.z for one in contrasts(after, before, 1)] == pytest.approx([-found[0].z])
