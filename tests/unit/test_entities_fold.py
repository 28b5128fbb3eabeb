"""Spellings of one name fold to one form, and spans of a text are found again in the folded one."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.entities.fold import fold, fold_text


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("APPLE", "apple"),
        ("  New\u00a0 York\n", "new york"),
        ("ＡＡＰＬ", "aapl"),
        ("İSTANBUL", "istanbul"),
        ("Nestlé", "NESTLE"),
        ("Cafe\u0301", "café"),
        ("Королёв", "королев"),
        ("أبل", "ابل"),
        ("مُحَمَّد", "محمد"),
        ("Straße", "STRASSE"),
        ("L’Oréal", "L'Oréal"),
    ],
)
def test_spellings_share_a_form(one: str, other: str) -> None:
    """Case, width, accents, composition, vowel points, apostrophes and white space do not part a series."""
    assert fold(one) == fold(other)


def test_letters_that_differ_stay_apart() -> None:
    """Vowel signs of Devanagari and Thai, and voiced kana, make other words."""
    assert fold("कि") != fold("क")
    assert fold("が") != fold("か")
    assert fold("ที่") != fold("ท")


@given(st.text(max_size=60))
def test_folding_is_idempotent(text: str) -> None:
    """A form of the table is its own form."""
    assert fold(fold(text)) == fold(text)


@given(st.text(max_size=30), st.text(min_size=1, max_size=10), st.text(max_size=30))
def test_spans_are_found_in_the_folded_text(before: str, name: str, after: str) -> None:
    """A mention's span leads to the folded mention, whatever stands around it grows or shrinks to."""
    folded = fold_text(before + name + after)
    start, end = folded.span(len(before), len(before) + len(name))
    assert fold(folded.text[start:end]) == fold(name)
