"""What two spellings of a name have in common: compatibility forms, case, accents and vowel points folded away."""

from __future__ import annotations

import unicodedata
from bisect import bisect_left, bisect_right
from dataclasses import dataclass
from itertools import accumulate

# Accents (Latin, Greek, Cyrillic), Hebrew points, Arabic vowel marks and the stretching sign, and invisible characters.
_DROPPED = {
    *range(0x0300, 0x0370),
    *range(0x0591, 0x05C8),
    *range(0x064B, 0x0653),
    0x0640,
    0x0670,
    *(0x00AD, 0x200B, 0x200C, 0x200D, 0x200E, 0x200F, 0x2060, 0xFEFF),
}
# The forms of alef are written for each other, as are final ya and alef maqsura, and ta marbuta and ha.
_SAME = {
    0x0622: "ا",
    0x0623: "ا",
    0x0625: "ا",
    0x0649: "ي",
    0x06CC: "ي",
    0x06A9: "ك",
    0x0131: "i",
    0x2019: "'",
    0x02BC: "'",
}
_LAST_DECOMPOSED = 0x0530
"""Latin, Greek and Cyrillic letters lose their accents; marks of later scripts are letters of their own."""


class _Folds(dict[int, str]):
    """Code point to what is left of it; filled as characters are met.

    Attributes:
        uneven: characters met that fold to none or to several.
    """

    def __init__(self) -> None:
        super().__init__()
        self.uneven: set[str] = set()

    def __missing__(self, code: int) -> str:
        folded = "".join(map(_fold_one, unicodedata.normalize("NFKC", chr(code))))
        if len(folded) != 1:
            self.uneven.add(chr(code))
        self[code] = folded
        return folded


def _fold_one(char: str) -> str:
    if ord(char) in _DROPPED:
        return ""
    char = _SAME.get(ord(char), char)
    if char.isspace():
        return " "
    if ord(char) < _LAST_DECOMPOSED or 0x1E00 <= ord(char) < 0x2000:
        char = unicodedata.normalize("NFD", char)
    return "".join(part for part in char.casefold() if ord(part) not in _DROPPED)


_FOLDS = _Folds()


@dataclass(frozen=True, slots=True)
class Folded:
    """A folded text and where its characters come from.

    Args:
        text: one or more folded characters for most of the original's, none for a dropped mark.
        starts: for each character of the original, where its folded ones begin in `text`, and the length of `text` at
            the end; None when each character has exactly one.
    """

    text: str
    starts: list[int] | None = None

    def span(self, start: int, end: int) -> tuple[int, int]:
        """Where the characters `start:end` of the original are in `text`."""
        return (start, end) if self.starts is None else (self.starts[start], self.starts[end])

    def original(self, start: int, end: int) -> tuple[int, int]:
        """Where the folded characters `start:end`, at least one, are in the original; what became two counts whole."""
        if self.starts is None:
            return start, end
        return bisect_right(self.starts, start) - 1, bisect_left(self.starts, end)


def fold(text: str) -> str:
    """A form as the table spells it: folded, white space squeezed."""
    return " ".join(text.translate(_FOLDS).split())


def fold_text(text: str) -> Folded:
    """A whole text, with the way from its spans to those of the folded one."""
    if text.isascii():
        return Folded(text.lower())
    folded = text.translate(_FOLDS)
    if _FOLDS.uneven.isdisjoint(text):
        return Folded(folded)
    return Folded(folded, [0, *accumulate(len(_FOLDS[ord(char)]) for char in text)])
