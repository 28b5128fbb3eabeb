"""What an alert is put together from: contrasts that are clear and shared, a mix that is known, keys by their names."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.alert_samples import alert
from tests.alert_windows import AS_THEY_ARE, LIMITS, WIDTH_S
from worker.alert_event import Contributions, alert_id
from worker.alerts.compose import alert_key, contrasts_of
from worker.alerts.evidence import Findings, Talk
from worker.alerts.keys import keys_of, name_of, parse_name, tallies_by_key
from worker.alerts.watched import KeyWindow, Watched, Watcher
from worker.opinion.cells import Cell
from worker.opinion.index.tally import Tally
from worker.opinion.shifts.words import Key, Span

GERMAN = Key("language_topic", ("de", "medtop:04000000"))
KEYS = st.one_of(
    st.builds(lambda a, b: Key("language_topic", (a, b)), st.text("abc-:", min_size=1), st.text("abc:", min_size=1)),
    st.builds(
        lambda a: Key("entity", (a,)), st.text(st.characters(codec="utf-8", exclude_characters="\x1f"), min_size=1)
    ),
    st.builds(lambda a: Key("source_class", (a,)), st.text("abc", min_size=1)),
)


def findings() -> Findings:
    before = {"de": Counter({"der": 90, "zug": 30, "selten": 0}), "fr": Counter({"le": 10, "bleu": 5})}
    after = {"de": Counter({"der": 90, "streik": 40, "selten": 2}), "fr": Counter({"le": 200, "bleu": 100})}
    return Findings(
        Talk(100, before, Counter({"bahn": 200, "db": 200})),
        Talk(100, after, Counter({"bahn": 200, "db": 200, "gdl": 30})),
    )


def names(key: Key, kind: str) -> list[str]:
    cells = ({Cell("s", "de", "x", "m"): Tally(neutral=80.0)}, {Cell("s", "de", "y", "m"): Tally(neutral=80.0)})
    return [each.name for each in contrasts_of(findings(), cells, key) if each.kind == kind]


def test_words_that_came_or_went_are_named() -> None:
    """Not those that are always there, nor those that hardly anybody used."""
    assert set(names(GERMAN, "term")) == {"streik", "zug"}
    assert names(GERMAN, "entity") == ["gdl"]
    assert set(names(GERMAN, "topic")) == {"x", "y"}


def test_words_of_a_language_that_grew_are_no_news() -> None:
    """Keys of several languages have words too, each compared with its own language; an entity is no news of itself."""
    assert set(names(Key("source_class", ("social",)), "term")) == {"streik", "zug"}
    assert names(Key("entity", ("gdl",)), "entity") == []


def test_a_word_that_two_languages_share_is_named_once() -> None:
    """With its clearest figure."""
    found = findings()
    for side in (found.before, found.after):
        side.terms["nl"] = side.terms["de"].copy()
    cells: tuple[dict[Cell, Tally], dict[Cell, Tally]] = ({}, {})
    made = [each.name for each in contrasts_of(found, cells, Key("source_class", ("social",)))]
    assert made.count("streik") == 1


@given(KEYS)
def test_a_key_is_read_back_from_its_name(key: Key) -> None:
    """The store keeps detectors by name."""
    assert parse_name(name_of(key)) == key
    assert alert_key(key).name == " / ".join(key.values)


@given(KEYS, KEYS, st.integers(0, 2**31), st.integers(0, 9))
def test_other_shifts_have_other_ids(one: Key, other: Key, start_s: int, epoch: int) -> None:
    """By key, direction, window and epoch, and always the same."""
    ids = {
        alert_id(alert_key(key), direction, start_s + later, epoch + anew)
        for key in {one, other}
        for direction in ("down", "up")
        for later in (0, 300)
        for anew in (0, 1)
    }
    assert len(ids) == 8 * len({one, other})
    assert alert_id(alert_key(one), "down", start_s, epoch) in ids


def test_a_post_belongs_to_its_language_and_topic_and_to_its_source_class() -> None:
    """And to the entities it mentions."""
    cell = Cell("social", "de", "medtop:04000000", "m")
    found = tallies_by_key({cell: Tally(neutral=3.0)}, {"acme": {cell: Tally(neutral=1.0)}, "none": {}})
    assert set(found) == {*keys_of(cell), Key("entity", ("acme",))}


def window(number: int, language: str = "de", posts: float = 50.0) -> KeyWindow:
    cell = Cell("social", language, "medtop:04000000", "m")
    third = posts / 5
    tally = Tally(third, 3 * third, third, 0.0, posts)
    return KeyWindow(span=Span(number * WIDTH_S, (number + 1) * WIDTH_S), tallies={cell: tally})


def watch(windows: list[KeyWindow]) -> Watched:
    watcher, watched = Watcher(AS_THEY_ARE, LIMITS), Watched()
    for each in windows:
        watched, signal = watcher.read(GERMAN, watched, each)
        assert signal is None
    return watched


def test_the_mix_is_learned_first() -> None:
    """For a quarter of the warm-up, after which the detector reads; it comes back from the store as it was."""
    learn = Watcher(AS_THEY_ARE, LIMITS).learn_s // WIDTH_S
    learning = watch([window(number) for number in range(learn - 1)])
    assert (learning.standard, learning.state.observed_s) == (None, 0)
    known = watch([window(number) for number in range(learn + 3)])
    assert known.standard is not None
    assert known.state.observed_s == 3 * WIDTH_S
    assert msgspec.json.decode(msgspec.json.encode(known), type=Watched) == known


def test_the_usual_labels_are_learned_on_and_a_window_that_is_left_out_teaches_nothing() -> None:
    """After the warm-up of the mix too; not from windows with an outage, parts missing, or too few posts."""
    learn = Watcher(AS_THEY_ARE, LIMITS).learn_s // WIDTH_S
    known = watch([window(number) for number in range(learn)])
    read, _ = Watcher(AS_THEY_ARE, LIMITS).read(GERMAN, known, window(learn))
    assert known.standard is not None
    assert read.standard is not None
    assert read.standard.shares[0].posts > known.standard.shares[0].posts
    for left_out in (
        replace(window(learn), outage=True),
        replace(window(learn), completeness=0.5),
        window(learn, posts=1.0),
    ):
        after, _ = Watcher(AS_THEY_ARE, LIMITS).read(GERMAN, known, left_out)
        assert after.standard == known.standard


def test_another_mix_is_learned_anew() -> None:
    """When most posts are of strata that the mix does not know, in a new epoch."""
    learn = Watcher(AS_THEY_ARE, LIMITS).learn_s // WIDTH_S
    changed = watch([*(window(number) for number in range(learn + 3)), window(learn + 3, "fr")])
    assert (changed.standard, changed.state.epoch, changed.state.observed_s) == (None, 1, 0)


def test_causes_are_ranked_by_their_size() -> None:
    """Whatever their sign."""
    found = Contributions(sentiment=0.1, language_mix=-0.3, source_mix=0.0, topic_mix=0.2)
    assert [name for name, _ in found.ranked()] == ["language_mix", "topic_mix", "sentiment", "source_mix"]
    assert found.total == pytest.approx(0.0)
    assert alert().contributions.total == pytest.approx(alert().moved)
