"""What the model sees of a post, and the way back: spans found in it are reported in the original text.

Three steps, each of which leaves most texts alone (then no map is kept and a span is its own answer):
squeeze white space and drop invisible characters, compose to Unicode NFC, mask mentions and links.
"""

from __future__ import annotations

import re
import unicodedata
from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Iterator
from dataclasses import dataclass, field

MENTION = "@user"
LINK = "http"

# Invisible and without a word of their own: soft hyphen, zero-width space, word joiner, byte order mark, and
# the direction marks. ZWNJ and ZWJ (U+200C, U+200D) stay: they make letters in Persian and Hindi, and emoji.
_DROPPED = "\u00ad\u200b\u200e\u200f\u202a-\u202e\u2060\u2066-\u2069\ufeff"
_ODD_SPACE = r"\t-\r\x00-\x08\x0e-\x1f\x7f-\xa0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000"
_SPACE = re.compile(f"[ {_ODD_SPACE}]")
_SQUEEZED = re.compile(rf"[{_ODD_SPACE}{_DROPPED}][ {_ODD_SPACE}{_DROPPED}]*| [ {_ODD_SPACE}{_DROPPED}]+|\A | \Z")

# Scripts written without spaces: a Latin handle or link ends where they begin ("@nhk_newsさん").
_UNSPACED = "\u0e00-\u0e7f\u3005-\u3007\u3040-\u30ff\u31f0-\u31ff\u3400-\u9fff\uac00-\ud7a3\uf900-\ufaff\uff66-\uff9f"
# `\w` lacks the vowel signs and accents that words are made of.
_MARKS = "\u0300-\u036f\u0483-\u0487\u0591-\u05bd\u064b-\u0652\u0900-\u0963\u0966-\u0dff"
_HANDLE = rf"(?:[^\W{_UNSPACED}]|[{_MARKS}])"
_DOMAIN = r"@[A-Za-z0-9-]+(?:\.[A-Za-z0-9-]+)+"
# "a@b.com" is an address, "你好@b" a mention: only spaced scripts make addresses.
_MENTION = (
    rf"(?:(?<![\w.+@＠{_MARKS}-])|(?<=[{_UNSPACED}]))[@＠](?:{_HANDLE}+(?:{_DOMAIN})?|[{_UNSPACED}]{{1,30}})[{_MARKS}]*"
)
_URL_CHAR = rf'[^\s<>"{_UNSPACED}\u2018-\u201f\u3000-\u303f\uff01-\uff0f\uff1a-\uff20]'
_URL_LAST = r"(?<![.,;:!?'*)\]}…])"
_URL = rf"(?:[hH][tT][tT][pP][sS]?://|(?<![A-Za-z0-9_.@-])(?:[wW]ww|WWW)\.){_URL_CHAR}+{_URL_LAST}"
_MASKED = re.compile(rf"(?P<link>{_URL})|{_MENTION}")
_GOES_ON = re.compile(rf"{_HANDLE}|{_MASKED.pattern}")

# Characters of combining class 0 that still join the one before them (Hangul vowels and finals, vowel
# signs of South and South East Asian scripts, Tibetan signs). A test derives the list from the Unicode tables.
_JOINING_STARTERS = frozenset(
    "\u09be\u09d7\u0b3e\u0b56\u0b57\u0bbe\u0bd7\u0cc2\u0cd5\u0cd6\u0d3e\u0d57\u0dcf\u0ddf\u0f73\u0f75\u0f81\u0fb5\u0fb7"
    "\u102e\u1b35\U00011127\U0001133e\U00011357\U000114b0\U000114ba\U000114bd\U000115af\U00011930"
) | {chr(code) for code in (*range(0x1161, 0x1176), *range(0x11A8, 0x11C3))}
# Stream-safe text (Unicode annex 15) has at most 30 marks on a letter; sorting more is quadratic in CPython.
_MAX_CLUSTER = 31


@dataclass(frozen=True, slots=True)
class _Edits:
    """The replaced stretches of one step, in order; between them characters only move.

    Stretch i took characters old_starts[i]:old_ends[i] to new_starts[i]:new_ends[i]. Units: characters.
    """

    new_starts: array[int] = field(default_factory=lambda: array("l"))
    new_ends: array[int] = field(default_factory=lambda: array("l"))
    old_starts: array[int] = field(default_factory=lambda: array("l"))
    old_ends: array[int] = field(default_factory=lambda: array("l"))

    def to_old(self, start: int, end: int) -> tuple[int, int]:
        """Return the old span: a stretch that is touched counts whole, one that only borders does not."""
        at = bisect_right(self.new_starts, start) - 1
        if at >= 0:
            inside = start < self.new_ends[at]
            old_start = self.old_starts[at] if inside else start - self.new_ends[at] + self.old_ends[at]
        else:
            old_start = start
        at = bisect_left(self.new_starts, end) - 1
        if at >= 0:
            inside = end <= self.new_ends[at]
            old_end = self.old_ends[at] if inside else end - self.new_ends[at] + self.old_ends[at]
        else:
            old_end = end
        return old_start, max(old_start, old_end)


@dataclass(frozen=True, slots=True)
class Normalised:
    """The text for the model and the way back to the original."""

    text: str
    _steps: tuple[_Edits, ...] = ()

    def to_original(self, start: int, end: int) -> tuple[int, int]:
        """Map the span `text[start:end]` to character offsets of the original text.

        A masked mention or link, or a composed letter, counts whole; white space that was dropped beside the
        span stays outside. Raises ValueError for a span that is not in `text`.
        """
        if not 0 <= start <= end <= len(self.text):
            raise ValueError(f"span {start}:{end} is not within a text of {len(self.text)} characters")
        for step in reversed(self._steps):
            start, end = step.to_old(start, end)
        return start, end


def normalise(text: str) -> Normalised:
    """Return `text` as the model sees it: "@user", "http", single spaces, stripped, NFC.

    Total (lone surrogates pass through), idempotent, and linear in the length of the text.
    """
    steps = []
    # `isprintable` is false for every control, format and separator character but the plain space.
    if not text.isprintable() or "  " in text or text[:1] == " " or text[-1:] == " ":
        text, edits = _apply(text, _squeezed(text))
        steps.append(edits)
    if not unicodedata.is_normalized("NFC", text):
        text, edits = _apply(text, _composed(text))
        steps.append(edits)
    if _may_be_masked(text):
        text, edits = _apply(text, _masked(text))
        steps.append(edits)
    return Normalised(text, tuple(edits for edits in steps if edits.new_starts))


def without_mentions_and_links(text: str) -> str:
    """Return `text` with a space for every mention and link: what is left was written by the author."""
    return _MASKED.sub(" ", text) if _may_be_masked(text) else text


def _may_be_masked(text: str) -> bool:
    return "@" in text or "＠" in text or "://" in text or "ww." in text or "WW." in text


def _apply(text: str, replacements: Iterator[tuple[int, int, str]]) -> tuple[str, _Edits]:
    """Replace (start, end, new) stretches, given in order and apart from each other."""
    edits, new_at, old_at = _Edits(), 0, 0
    parts: list[str] = []
    for start, end, new in replacements:
        parts += (text[old_at:start], new)
        new_at += start - old_at
        edits.new_starts.append(new_at)
        new_at += len(new)
        edits.new_ends.append(new_at)
        edits.old_starts.append(start)
        edits.old_ends.append(end)
        old_at = end
    if not parts:
        return text, edits
    parts.append(text[old_at:])
    return "".join(parts), edits


def _squeezed(text: str) -> Iterator[tuple[int, int, str]]:
    """Yield the runs of white space and invisible characters that are not already one plain space."""
    for run in _SQUEEZED.finditer(text):
        start, end = run.span()
        inner = start > 0 and end < len(text) and _SPACE.search(text, start, end)
        yield start, end, " " if inner else ""


def _composed(text: str) -> Iterator[tuple[int, int, str]]:
    """Yield the clusters (a character and what joins it) that NFC changes; each is composed alone."""
    start = 0
    for at in range(1, len(text) + 1):
        if at < len(text) and _joins(text[at]):
            continue
        if at - start > 1 or text[start] > "\u02ff":
            cluster = text[start:at]
            composed = cluster
            if not unicodedata.is_normalized("NFC", cluster):
                composed = unicodedata.normalize("NFC", cluster[:_MAX_CLUSTER])[:_MAX_CLUSTER]
            if composed != cluster:
                yield start, at, composed
        start = at


def _joins(char: str) -> bool:
    """Say whether NFC may combine or reorder `char` with the character before it."""
    return char > "\u02ff" and (unicodedata.combining(char) != 0 or char in _JOINING_STARTERS)


def _masked(text: str) -> Iterator[tuple[int, int, str]]:
    """Yield mentions and links with what stands for them.

    What directly follows a mention ("@한abc") must not become part of the handle that stands for it.
    """
    for found in _MASKED.finditer(text):
        mention = f"{MENTION} " if _GOES_ON.match(text, found.end()) else MENTION
        yield found.start(), found.end(), LINK if found["link"] else mention
