"""From tag probabilities of tokens to entity spans: words vote as a whole, and only valid IOB2 sequences count."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import get_args

import numpy as np
from numpy.typing import NDArray

from worker.events import EntityType

TYPES: tuple[EntityType, ...] = get_args(EntityType)
OUTSIDE = 0
BEGIN = np.array([1, 3, 5])
INSIDE = BEGIN + 1

Floats = NDArray[np.float64]
Ints = NDArray[np.int32]

# Scripts in which a name can end inside a run of letters: Thai, Lao, Myanmar, Khmer, Japanese, Chinese, and Korean,
# whose particles are written onto the name.
_UNSPACED = re.compile(
    "[\u0e00-\u0eff\u1000-\u109f\u1100-\u11ff\u1780-\u17ff\u3005-\u3007\u3040-\u318f\u31f0-\u31ff\u3400-\u9fff"
    "\uac00-\ud7ff\uf900-\ufaff\uff66-\uffdc\U00020000-\U0003ffff]"
)
_CLOSING = dict(zip(")]}）】」』》”»", "([{（【「『《“«", strict=True))


@dataclass(frozen=True, slots=True)
class Span:
    """A mention in the normalised text; `confidence` is the mean probability that its tokens have this type."""

    type: EntityType
    start: int
    end: int
    confidence: float


def decode_spans(
    text: str, starts: Ints, ends: Ints, log_probabilities: Floats, temperature: float = 1.0
) -> Iterator[Span]:
    """Yield the spans of the most probable valid tag sequence, in order.

    Args:
        text: the normalised text.
        starts: int32 [N], where each token begins in `text`; empty tokens (a bare space) are passed over, because
            training passed over them.
        ends: int32 [N], where each token ends.
        log_probabilities: float64 [N, 7], log-softmax over `bundle.TAG_LABELS`.
        temperature: of the confidences; the spans do not depend on it.
    """
    real = starts < ends
    starts, ends, log_probabilities = starts[real], ends[real], log_probabilities[real]
    units = _units(text, starts.tolist(), ends.tolist())
    if not units:
        return
    tags = _best_sequence(_unit_scores(units, log_probabilities))
    borders = [*units, len(starts)]
    powers = np.exp(log_probabilities / temperature)
    probabilities = powers / powers.sum(axis=1, keepdims=True)
    for first, last in _runs(tags):
        kind = (tags[first] - 1) // 2
        begin, stop = borders[first], borders[last]
        confidence = probabilities[begin:stop, [BEGIN[kind], INSIDE[kind]]].sum(axis=1).mean()
        yield Span(TYPES[kind], int(starts[begin]), int(ends[stop - 1]), min(1.0, float(confidence)))


def _units(text: str, starts: list[int], ends: list[int]) -> list[int]:
    """The index of the first token of each unit: a run of letters of a spaced script, or any other token.

    Tokens that share a character ("㍻" makes two) are one unit.
    """
    units, previous_end, open_word = [], -1, False
    for at, (start, end) in enumerate(zip(starts, ends, strict=True)):
        goes_on = open_word and start <= previous_end and _makes_words(text[start])
        if not goes_on and start >= previous_end:
            units.append(at)
        previous_end, open_word = end, _makes_words(text[end - 1])
    return units


@lru_cache(maxsize=4096)
def _makes_words(char: str) -> bool:
    """Whether `char` is a letter, mark or digit of a script that puts spaces between words."""
    return unicodedata.category(char)[0] in "LMN" and not _UNSPACED.match(char)


def _unit_scores(units: list[int], log_probabilities: Floats) -> Floats:
    """The log-probability of each tag for a whole unit, [U, 7]: a B- unit goes on with I- in its later tokens."""
    scores: Floats = np.add.reduceat(log_probabilities, units, axis=0)
    first = log_probabilities[units]
    scores[:, BEGIN] = scores[:, INSIDE] - first[:, INSIDE] + first[:, BEGIN]
    return scores


def _best_sequence(scores: Floats) -> list[int]:
    """The most probable sequence in which I-X follows only B-X or I-X.

    Where the best tag of each unit already makes a valid sequence it is the answer: no valid one can score higher.
    """
    greedy: list[int] = scores.argmax(axis=1).tolist()
    if all(_may_follow(before, tag) for before, tag in zip([OUTSIDE, *greedy], greedy, strict=False)):
        return greedy
    return _viterbi(scores.tolist())


def _may_follow(before: int, tag: int) -> bool:
    is_inside = tag != OUTSIDE and tag % 2 == 0
    return not is_inside or before in (tag, tag - 1)


def _viterbi(scores: list[list[float]]) -> list[int]:
    """Plain Viterbi over seven tags; lists are faster than arrays for steps this small."""
    tags = range(len(scores[0]))
    best = [score if _may_follow(OUTSIDE, tag) else -np.inf for tag, score in enumerate(scores[0])]
    origins = []
    for row in scores[1:]:
        top = max(tags, key=best.__getitem__)
        came = [top if _may_follow(top, tag) else max((tag - 1, tag), key=best.__getitem__) for tag in tags]
        best = [best[before] + score for before, score in zip(came, row, strict=True)]
        origins.append(came)
    path = [max(tags, key=best.__getitem__)]
    for came in reversed(origins):
        path.append(came[path[-1]])
    return path[::-1]


def _runs(tags: list[int]) -> Iterator[tuple[int, int]]:
    """Yield (first, last) of each mention, `last` exclusive: a B- and the I- behind it."""
    begins = [at for at, tag in enumerate(tags) if tag % 2 == 1]
    for first in begins:
        last = first + 1
        while last < len(tags) and tags[last] == tags[first] + 1:
            last += 1
        yield first, last


def trim(text: str, start: int, end: int) -> tuple[int, int]:
    """Shrink a span to begin and end with a letter, mark, digit or symbol.

    Kept at the end: a closing bracket or quote whose opening is inside, and the last dot of "U.S.".
    """
    while start < end and _is_edge(text[start]):
        start += 1
    while start < end and _is_edge(text[end - 1]):
        last, inner = text[end - 1], text[start : end - 1]
        if _CLOSING.get(last, "\0") in inner or (last == "." and "." in inner and not inner.endswith(".")):
            break
        end -= 1
    return start, end


def _is_edge(char: str) -> bool:
    """White space, punctuation, or an invisible character."""
    return unicodedata.category(char)[0] in "PZC"
