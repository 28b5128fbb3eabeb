"""Two posts in one text: what teaches the token vectors that a clause has a sentiment of its own."""

import random
from collections import defaultdict
from collections.abc import Sequence

from worker.model.data import UNSPACED, Example, Part

LONGEST_CHARS = 140  # of each post: a pair must fit the longest sequence
JOINS = (", ", "; ", " \u2013 ", ". ", " ")


def pair_up(drawn: Sequence[Example], chance: float, rng: random.Random) -> list[Example]:
    """Join short posts, each with `chance`, to another of their language with a different sentiment; the rest stays.

    A pair has no sentiment as a whole: each part's is learned from its own tokens. About half of those drawn find a
    partner.
    """
    pools: dict[str, list[Example]] = defaultdict(list)
    for example in drawn:
        if _fits(example):
            pools[example.language].append(example)
    return [
        _pair(example, rng.choice(pools[example.language]), rng)
        if _fits(example) and rng.random() < chance
        else example
        for example in drawn
    ]


def _fits(example: Example) -> bool:
    return example.sentiment is not None and len(example.text) <= LONGEST_CHARS


def _pair(one: Example, other: Example, rng: random.Random) -> Example:
    if one.sentiment is None or other.sentiment is None or one.sentiment == other.sentiment:
        return one
    join = rng.choice(JOINS).strip() if one.language in UNSPACED else rng.choice(JOINS)
    first = one.text.rstrip(" .!?") + join
    parts = (
        Part(0, len(first), one.sentiment, one.source),
        Part(len(first), len(first) + len(other.text), other.sentiment, other.source),
    )
    return Example(first + other.text, one.language, one.source, parts=parts)
