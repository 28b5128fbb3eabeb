"""What `Preparer` promises: every text becomes windows that hold all of it, or a dead letter of its own."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from worker.analysis.bundle import Bundle
from worker.analysis.prepare import CHUNK_CHARS, Prepared, Preparer
from worker.errors import BadRecord
from worker.text.language import Language

BUNDLE = Bundle.load(Path(__file__).parent.parent / "fixtures" / "tiny_models" / "analyzer" / "1")
TEXTS = st.text(st.one_of(st.sampled_from("aeion rst, .東京のé\u0301ﬀ㍻½🙂\u200d@#\n"), st.characters(codec="utf-8")))


class English:
    """Finds English in everything."""

    def identify(self, text: str, hint: str | None) -> Language:
        return Language("en", 0.9, hint is not None and hint != "en")


@dataclass
class Spy:
    """A tokenizer that counts what it reads, and fails on texts that hold one of `poisons`."""

    poisons: dict[str, type[BaseException]] = field(default_factory=dict)
    chars: int = 0

    def encode_batch(self, texts: Sequence[str], **options: bool) -> Any:
        self.chars += sum(map(len, texts))
        for poison, error in self.poisons.items():
            if any(poison in text for text in texts):
                raise error(poison)
        return BUNDLE.tokenizer.encode_batch(texts, **options)


PanicException = type("PanicException", (BaseException,), {})  # what Rust raises: not an Exception, not importable


def preparer(max_windows: int = 4, tokenizer: Spy | None = None) -> Preparer:
    bundle = replace(BUNDLE, tokenizer=tokenizer) if tokenizer else BUNDLE
    return Preparer(bundle, English(), max_windows)


def tokens_of(prepared: Prepared) -> list[int]:
    """The text's tokens, put together from its windows."""
    ids: dict[int, int] = {}
    for window in prepared.windows:
        for at, ident in enumerate(window.ids[1:-1].tolist(), window.first):
            assert ids.setdefault(at, ident) == ident
    assert sorted(ids) == list(range(len(ids)))
    return [ids[at] for at in range(len(ids))]


@settings(deadline=None)
@given(TEXTS)
def test_windows_hold_the_whole_text(text: str):
    """Every token of the text is in a window; windows keep to the trained length and carry the special tokens."""
    prepared = preparer(max_windows=1000).prepare(text)
    expected = BUNDLE.tokenizer.encode(prepared.normalised.text, add_special_tokens=False).ids
    assert tokens_of(prepared) == expected
    for window in prepared.windows:
        assert window.ids.dtype == np.int32
        assert 2 <= window.length <= BUNDLE.window_tokens
        assert (window.ids[0], window.ids[-1]) == (0, 2)


@settings(deadline=None)
@given(TEXTS)
def test_offsets_lie_in_the_text(text: str):
    """Offsets are within the normalised text, in order, and never begin with the space before a word."""
    prepared = preparer(max_windows=1000).prepare(text)
    starts, ends = prepared.starts, prepared.ends
    assert (starts >= 0).all()
    assert (starts <= ends).all()
    assert (ends <= len(prepared.normalised.text)).all()
    real = starts < ends
    assert (np.diff(starts[real]) > 0).all()
    assert all(prepared.normalised.text[start] != " " for start in starts[real])


def test_added_space_has_no_place():
    """The space that the tokenizer puts before a text that begins with 東 does not claim that character."""
    prepared = preparer().prepare("東京")
    assert [(s, e) for s, e in zip(prepared.starts, prepared.ends, strict=True) if s < e] == [(0, 1), (1, 2)]


@pytest.mark.parametrize("words", [1, 20, 29, 30, 31, 52, 53, 54, 99])
def test_neighbouring_windows_overlap(words: int):
    """No token is read only at a cut: neighbours share at least a quarter of the trained length."""
    prepared = preparer(max_windows=100).prepare("q" * words)  # "q" is one token each, after the added space
    ends = [window.first + window.length - 2 for window in prepared.windows]
    assert ends[-1] == len(prepared.starts)
    assert all(end - after.first >= 7 for end, after in zip(ends, prepared.windows[1:], strict=False))
    assert len({window.length for window in prepared.windows}) == 1


def test_longest_text_that_fits_is_kept():
    """`text_too_long` begins one token after what `max_windows` windows hold."""
    most = 7 + 4 * (30 - 7)
    assert len(preparer(4).prepare("q" * (most - 1)).windows) == 4
    with pytest.raises(BadRecord, match=f"tokenize: text_too_long .more than {most} tokens"):
        preparer(4).prepare("q" * most)


@pytest.mark.parametrize("unit", ["word ", "東京", "!", "e"])
def test_huge_text_fails_fast(unit: str):
    """Of a megabyte of text no more is tokenized than shows that it is too long."""
    spy = Spy()
    with pytest.raises(BadRecord, match="text_too_long"):
        preparer(32, spy).prepare(unit * (1_000_000 // len(unit)))
    assert spy.chars < 10 * CHUNK_CHARS


def test_huge_text_of_few_tokens_is_kept():
    """Length in characters alone rejects nothing: a long run of unknown characters is a handful of tokens."""
    prepared = preparer(32).prepare("\U000130a7" * 200_000)
    assert len(prepared.windows) > 1
    assert prepared.ends[-1] == 200_000


@pytest.mark.parametrize("seed", range(5))
def test_chunks_read_as_the_whole(seed: int):
    """A text with spaces gives the same tokens at the same places whether it is tokenized in chunks or at once."""
    words = random.Random(seed).choices(["London", "trains", "Straße", "東京の会社", "e\u0301", "a,b", "🙂"], k=2000)
    prepared = preparer(10_000).prepare(" ".join(words))
    whole = BUNDLE.tokenizer.encode(prepared.normalised.text, add_special_tokens=False)
    assert tokens_of(prepared) == whole.ids
    found = [prepared.normalised.text[s:e] for s, e in zip(prepared.starts, prepared.ends, strict=True) if s < e]
    assert "".join(found) == prepared.normalised.text.replace(" ", "")


@pytest.mark.parametrize("text", ["", "   ", "\u200b\ufeff", "\n\t"])
def test_empty_text_is_flagged(text: str):
    """A text without a token gets one window of special tokens only, and says so."""
    prepared = preparer().prepare(text)
    assert [window.ids.tolist() for window in prepared.windows] == [[0, 2]]
    assert prepared.flags == ("empty_text",)


def test_hint_conflict_is_flagged():
    """A publisher's hint that lost is visible."""
    assert preparer().prepare("hello", "ja").flags == ("language_hint_conflict",)
    assert preparer().prepare("hello", "en").flags == ()


@pytest.mark.parametrize("size", [1, CHUNK_CHARS])
@pytest.mark.parametrize(
    ("poison", "spy", "reason"),
    [
        ("\ud800", Spy(), "lone_surrogate"),
        ("poison", Spy({"poison": PanicException}), "tokenizer_failed"),
        ("poison", Spy({"poison": Exception}), "tokenizer_failed"),
    ],
)
def test_bad_text_takes_no_other_with_it(poison: str, spy: Spy, reason: str, size: int):
    """What the tokenizer cannot read, or panics on, is one bad record; its neighbours are prepared."""
    texts = [("good one", None), (poison + " q" * size, None), ("good two", None)]
    first, bad, last = preparer(200, spy).prepare_many(texts)
    assert isinstance(first, Prepared)
    assert isinstance(last, Prepared)
    assert (first.text, last.text) == ("good one", "good two")
    assert isinstance(bad, BadRecord)
    assert (bad.stage, bad.reason) == ("tokenize", reason)


def test_interrupt_is_not_a_bad_text():
    """Only a panic is caught: Ctrl-C goes through."""
    with pytest.raises(KeyboardInterrupt):
        preparer(4, Spy({"good": KeyboardInterrupt})).prepare("good")


@settings(deadline=None)
@given(st.lists(TEXTS, max_size=40))
def test_many_are_prepared_as_one(texts: list[str]):
    """Preparing together changes nothing."""
    together = preparer(1000).prepare_many([(text, None) for text in texts])
    for text, found in zip(texts, together, strict=True):
        alone = preparer(1000).prepare(text)
        assert isinstance(found, Prepared)
        assert found.text == text
        assert [window.ids.tolist() for window in found.windows] == [window.ids.tolist() for window in alone.windows]
        assert (found.starts.tolist(), found.ends.tolist()) == (alone.starts.tolist(), alone.ends.tolist())
