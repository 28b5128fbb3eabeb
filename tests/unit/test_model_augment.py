"""Augmentation: texts change, labels stay, and every span still covers its words."""

import random
from dataclasses import replace

import pytest

pytest.importorskip("torch")

from hypothesis import given
from hypothesis import strategies as st

from worker.model.augment import (
    PUNCTUATION,
    apply,
    change_case,
    drop_punctuation,
    make_change,
    make_typos,
    switch_code,
)
from worker.model.data import Example
from worker.model.lexica import make_lexica, sentiment_words
from worker.model.options import Options

GERMAN = Example("Angela Merkel kam", "de", "s", spans=((0, 13, "PER"),))
RUSSIAN = Example("Газпром растёт", "ru", "s", spans=((0, 7, "ORG"),))
LEXICA = make_lexica([GERMAN, RUSSIAN])
CHANGES = (change_case, make_typos, drop_punctuation, lambda example, rng: switch_code(example, rng, LEXICA))
WORDS = st.sampled_from(
    ["Straße", "Yahoo!", "good", "İstanbul", "Москва", "東京", "I", "U.S.", "...", "terrible,", "ﬁne", "निवेश", "a"]
)


@st.composite
def examples(draw):
    """A text of words between single spaces, some of them entities of one or two words."""
    words = draw(st.lists(WORDS, min_size=1, max_size=8))
    text, spans, at, index = " ".join(words), [], 0, 0
    while index < len(words):
        taken = words[index : index + draw(st.integers(1, 2))]
        length = len(" ".join(taken))
        if draw(st.booleans()):
            spans.append((at, at + length, draw(st.sampled_from(["PER", "ORG", "MISC"]))))
        at, index = at + length + 1, index + len(taken)
    return Example(text, draw(st.sampled_from(["en", "tr", "de"])), "s", spans=tuple(spans))


@given(examples(), st.randoms(use_true_random=False), st.sampled_from(CHANGES))
def test_spans_still_cover_their_words(example, rng, change):
    """Whatever changes: as many spans of the same types, in order, each from a word's first to its last character."""
    after = change(example, rng)
    assert [kind for *_, kind in after.spans] == [kind for *_, kind in example.spans]
    for start, end, _ in after.spans:
        words = after.text[start:end]
        assert words, after
        assert words == words.strip()
        assert after.text[start - 1 : start] in ("", " ")
        assert after.text[end : end + 1] in ("", " ")


@given(examples(), st.randoms(use_true_random=False))
def test_case_and_punctuation_change_nothing_else(example, rng):
    """Without regard to case the text is the same; without its marks too, and names keep theirs."""
    cased = change_case(example, rng)
    assert cased.spans == example.spans
    assert len(cased.text) == len(example.text)
    assert cased.text.upper().replace("İ", "I") == example.text.upper().replace("İ", "I")
    bare = drop_punctuation(example, rng)
    assert PUNCTUATION.sub("", bare.text) == PUNCTUATION.sub("", example.text)
    names = [example.text[start:end] for start, end, _ in example.spans]
    assert [bare.text[start:end] for start, end, _ in bare.spans] == names


@given(examples(), st.integers(0, 999))
def test_the_same_seed_gives_the_same_text(example, seed):
    """A resumed run sees what an uninterrupted one would."""
    change = make_change(Options(casing=0.5, typos=0.5, punctuation=0.5, code_switch=0.5), LEXICA)
    assert change(example, random.Random(seed)) == change(example, random.Random(seed))


def test_edits_move_what_follows_and_never_cross_a_border():
    """A longer name shifts the next one; an edit over a border is left out, and one that would empty a span."""
    example = Example("Ann met Bo", "en", "s", spans=((0, 3, "PER"), (8, 10, "PER")))
    after = apply(example, [(0, 3, "Annabel"), (4, 7, "saw")])
    assert (after.text, after.spans) == ("Annabel saw Bo", ((0, 7, "PER"), (12, 14, "PER")))
    assert apply(example, [(2, 5, "x")]) == example
    assert apply(example, [(8, 10, "")]) == example


def test_typos_come_and_stay_small():
    """A long text gets some; no word changes by more than a letter."""
    example = Example("remarkable figures were published yesterday " * 20, "en", "s", sentiment=1)
    after = make_typos(example, random.Random(1))
    pairs = list(zip(example.text.split(), after.text.split(), strict=True))
    assert 3 < sum(old != new for old, new in pairs) < 30
    assert all(abs(len(old) - len(new)) <= 1 and old[0] == new[0] for old, new in pairs)
    assert after.sentiment == 1


def test_code_switching_keeps_type_and_feeling():
    """A name becomes one of its type from another language; a word of feeling its translation, or stays."""
    example = Example("A good day for Siemens", "en", "s", spans=((15, 22, "ORG"),))
    seen = {switch_code(example, random.Random(seed), LEXICA).text for seed in range(200)}
    assert any(text.endswith("Газпром") for text in seen)
    assert not any("Merkel" in text for text in seen)
    translations = {text.split(" day")[0].removeprefix("A ") for text in seen}
    assert translations == {"good", *sentiment_words()["en", "good"].values()}


def test_turkish_capitals_are_turkish():
    """İ and I are other letters there."""
    texts = {change_case(Example("Iğdır İzmir iyi", "tr", "s"), random.Random(seed)).text for seed in range(20)}
    assert texts == {"ığdır izmir iyi", "IĞDIR İZMİR İYİ"}


def test_nothing_asked_nothing_changed():
    """Without a chance in the recipe there is no augmentation at all; labels other than spans never move."""
    assert make_change(Options(), LEXICA) is None
    topic = Example("Good news.", "en", "t", topic=frozenset({1}))
    change = make_change(Options(casing=1.0, punctuation=1.0), LEXICA)
    after = change(topic, random.Random(0))
    assert replace(after, text=topic.text) == topic
    assert after.spans is None
