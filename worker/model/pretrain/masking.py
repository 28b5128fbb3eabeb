"""Whole-word masking, drawn anew each time a text is seen (Devlin et al. 2019 and their later whole-word models)."""

import random
from collections.abc import Sequence
from dataclasses import dataclass

HIDDEN_SHARE, OTHER_SHARE = 0.8, 0.1  # of chosen pieces: hidden, replaced by another; the rest stays, and is asked for


@dataclass(frozen=True)
class Vocabulary:
    """What masking needs to know of a tokenizer."""

    mask_id: int
    plain_ids: Sequence[int]  # pieces that may stand for a chosen one: no special ones


@dataclass(frozen=True)
class Masked:
    """A text with some words hidden: its pieces, and where which ones have to be guessed."""

    ids: list[int]
    places: list[int]  # ascending
    targets: list[int]


def mask_words(ids: Sequence[int], words: Sequence[int], share: float, vocabulary: Vocabulary, seed: str) -> Masked:
    """Choose whole words until `share` of the pieces are chosen, one piece at least, and hide them.

    The last word may overshoot, by less than its length. Each piece of a word is hidden, replaced or left by itself.

    Args:
        ids: the pieces of one text, without special ones.
        words: the number of each piece's word; equal numbers stand together.
        seed: decides everything.
    """
    rng = random.Random(seed)  # noqa: S311 - repeatable on purpose
    spans: dict[int, list[int]] = {}
    for place, word in enumerate(words):
        spans.setdefault(word, []).append(place)
    order = list(spans.values())
    rng.shuffle(order)
    places: list[int] = []
    for span in order:
        if len(places) >= max(1, round(share * len(ids))):
            break
        places += span
    places.sort()
    shown = list(ids)
    for place in places:
        shown[place] = _shown(ids[place], vocabulary, rng)
    return Masked(shown, places, [ids[place] for place in places])


def _shown(ident: int, vocabulary: Vocabulary, rng: random.Random) -> int:
    draw = rng.random()
    if draw < HIDDEN_SHARE:
        return vocabulary.mask_id
    return rng.choice(vocabulary.plain_ids) if draw < HIDDEN_SHARE + OTHER_SHARE else ident
