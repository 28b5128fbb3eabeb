"""The words of a text as its author wrote it, and the word that each token belongs to."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Iterator

import regex

from worker.analysis.prepare import Prepared

Span = tuple[int, int]  # characters of the original text, end exclusive

# Words by Unicode annex 29: "don't" and a family emoji are one. It knows no dictionary: Chinese, Japanese and Thai fall
# into characters, which the tokenizer's pieces then join.
_WORD_BORDER = regex.compile(r"\b", regex.WORD | regex.V1)


def words_of_tokens(prepared: Prepared) -> tuple[list[Span], list[int]]:
    """The words that hold a token, in order and apart from each other, and each token's word by its index.

    A word is what Unicode borders and tokens together leave whole: pieces of one word are joined, and so are the
    characters of one piece in scripts without spaces, or of a masked mention or link. A token without characters (a
    bare word start) belongs to the token behind it.

    Returns:
        ([W] spans, [N] indices); W is 0 only where N is.
    """
    places = [
        prepared.normalised.to_original(start, end)
        for start, end in zip(prepared.starts.tolist(), prepared.ends.tolist(), strict=True)
    ]
    real = [place for place in places if place[0] < place[1]]
    tokens = set(real)
    joined = _joined(sorted([*tokens, *_segments(prepared.text)]))
    starts = [start for start, _ in joined]
    held = sorted({bisect_right(starts, start) - 1 for start, _ in tokens})
    index = {at: number for number, at in enumerate(held)}
    owners, behind = [], max(0, len(held) - 1)
    for start, end in reversed(places):
        if start < end:
            behind = index[bisect_right(starts, start) - 1]
        owners.append(behind)
    return [joined[at] for at in held], owners[::-1]


def _segments(text: str) -> Iterator[Span]:
    """What stands between two borders and is not white space."""
    borders = [found.start() for found in _WORD_BORDER.finditer(text)]
    for start, end in zip([0, *borders], [*borders, len(text)], strict=True):
        if text[start:end].strip():
            yield start, end


def _joined(spans: Iterable[Span]) -> list[Span]:
    """Sorted spans, those that share a character as one."""
    found: list[Span] = []
    for start, end in spans:
        if found and start < found[-1][1]:
            found[-1] = (found[-1][0], max(end, found[-1][1]))
        else:
            found.append((start, end))
    return found
