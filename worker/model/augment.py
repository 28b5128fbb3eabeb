"""Changed copies of labelled texts: other casing, typos, dropped punctuation, words of another language.

Every change is a list of replacements of stretches of the text, so that entity spans are moved along exactly.
"""

import random
import re
from collections.abc import Callable
from dataclasses import replace
from itertools import accumulate

from worker.model.data import Example
from worker.model.lexica import Lexica
from worker.model.options import Options

Edit = tuple[int, int, str]  # start, end (exclusive) of the original's characters, and what stands there instead
Change = Callable[[Example, random.Random], Example]

WORD = re.compile(r"[^\W\d_]+")
# Not the point of 1.5 or of a link: before a space, at the end, or of a script without spaces.
PUNCTUATION = re.compile(r"[.,;:!?…]+(?=\s|$)|[。、，！？；：،؟।]")
ALPHABETIC = re.compile(r"[\u0041-\u024f\u0370-\u052f\u05d0-\u064a]{4,}")  # Latin, Greek, Cyrillic, Hebrew, Arabic
TYPO_SHARE = 0.12  # of a text's longer words
SWITCH_SHARE = 0.5  # of the words and names that could be switched
DROP_SHARE = 0.7
TURKISH = {"lower": {"I": "ı", "İ": "i"}, "upper": {"i": "İ", "ı": "I"}}


def make_change(options: Options, lexica: Lexica) -> Change | None:
    """One function that applies each of the recipe's changes by its chance; None when all chances are 0."""
    table: tuple[tuple[float, Change], ...] = (
        (options.code_switch, lambda example, rng: switch_code(example, rng, lexica)),
        (options.typos, make_typos),
        (options.punctuation, drop_punctuation),
        (options.casing, change_case),
    )
    chosen = [(chance, change) for chance, change in table if chance]

    def changed(example: Example, rng: random.Random) -> Example:
        for chance, change in chosen:
            if rng.random() < chance:
                example = change(example, rng)
        return example

    return changed if chosen else None


def apply(example: Example, edits: list[Edit]) -> Example:
    """The example with its text edited and its spans around the same words.

    An edit that reaches over a span's border, or overlaps an earlier edit, is left out; so are all of them if a span
    would end up empty.
    """
    spans = example.spans or ()
    borders = {place for start, end, _ in spans for place in (start, end)}
    pieces, taken = list(example.text), 0
    for start, end, fresh in sorted(edits):
        if start < taken or any(start < border < end for border in borders):
            continue
        pieces[start:end] = [fresh, *[""] * (end - start - 1)]
        taken = end
    places = [0, *accumulate(map(len, pieces))]
    moved = tuple((places[start], places[end], kind) for start, end, kind in spans)
    if any(start == end for start, end, _ in moved) or not places[-1]:
        return example
    return replace(example, text="".join(pieces), spans=example.spans and moved)


def change_case(example: Example, rng: random.Random) -> Example:
    """All lower case or, more rarely, all capitals; a character whose other case is not one character stays."""
    way = "lower" if rng.random() < 0.7 else "upper"
    own = TURKISH[way] if example.language == "tr" else {}
    edits = []
    for at, character in enumerate(example.text):
        other = own.get(character, getattr(character, way)())
        if len(other) == 1 and other != character:
            edits.append((at, at + 1, other))
    return apply(example, edits)


def make_typos(example: Example, rng: random.Random) -> Example:
    """Swapped, lost and doubled letters in a few of the longer words of alphabetic scripts, never the first letter."""
    edits: list[Edit] = []
    for word in ALPHABETIC.finditer(example.text):
        if rng.random() < TYPO_SHARE:
            at = rng.randrange(word.start() + 1, word.end() - 1)
            one, two = example.text[at], example.text[at + 1]
            edits.append(rng.choice([(at, at + 2, two + one), (at, at + 1, ""), (at, at + 1, one + one)]))
    return apply(example, edits)


def drop_punctuation(example: Example, rng: random.Random) -> Example:
    """Most punctuation marks left out, as in quickly written posts; inside a name (Yahoo!) they stay."""
    inside = [(start, end) for start, end, _ in example.spans or ()]
    return apply(
        example,
        [
            (mark.start(), mark.end(), "")
            for mark in PUNCTUATION.finditer(example.text)
            if not any(start <= mark.start() < end for start, end in inside) and rng.random() < DROP_SHARE
        ],
    )


def switch_code(example: Example, rng: random.Random, lexica: Lexica) -> Example:
    """Names by names of their type, and words of feeling by their translations, from other languages."""
    edits: list[Edit] = []
    for start, end, kind in example.spans or ():
        if rng.random() < SWITCH_SHARE and (name := lexica.other_mention(kind, example.language, rng)):
            edits.append((start, end, name))
    for word in WORD.finditer(example.text):
        other = lexica.translation(word[0].lower(), example.language, rng)
        if other and not _in_span(example, word.start()) and rng.random() < SWITCH_SHARE:
            edits.append((word.start(), word.end(), other))
    return apply(example, edits)


def _in_span(example: Example, at: int) -> bool:
    return any(start <= at < end for start, end, _ in example.spans or ())
