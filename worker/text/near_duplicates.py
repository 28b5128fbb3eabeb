"""What tells copies of one story: retweets, syndicated news, changed links, cut ends. Pure, on every machine alike.

MinHash (Broder 1997) over the character shingles of the bare text, cut into bands: two texts are near-duplicates when
`BANDS_NEEDED` of their bands are equal. Asking for several of many short bands separates better than one of few long
ones: figures in docs/decisions/stories.md.
"""

from __future__ import annotations

import hashlib
import re
import unicodedata
from typing import NamedTuple

from rensa import RMinHash

from worker.text.normalise import without_mentions_and_links

BANDS = 12
ROWS = 3
BANDS_NEEDED = 3
SEED = 42

SHINGLE_CHARS = 5
UNSPACED_SHINGLE_CHARS = 3
"""Of scripts without spaces, whose characters carry more."""

LEAST_SHINGLES = 20
"""Shorter texts are copies only when they are equal: one more word changes most of their shingles."""

LEAST_LETTERS = 12
"""Of shorter texts even equality tells nothing: a thousand people who write "thank you" are a thousand opinions."""

MOST_CHARS = 5_000
"""What is read of a long text."""

_RETWEET = re.compile(r"\s*RT\s*(?=[@＠])", re.IGNORECASE)
_COMBINING = re.compile("[\u0300-\u036f]")
_NO_LETTER = re.compile(r"[\W_]+")
_UNSPACED = re.compile("[\u0e00-\u0e7f\u3005-\u3007\u3040-\u30ff\u31f0-\u31ff\u3400-\u9fff\uf900-\ufaff]+")
_PRIME = (1 << 61) - 1
_FACTORS = (0x9E3779B97F4A7C1, 0x2545F4914F6CDD1D, 0x369DEA0F31A53F8)


class Fingerprint(NamedTuple):
    """What is compared of a text: two texts with `needed` equal bands are copies of one story.

    Args:
        bands: 61 bits each, different for each place in the row; none for a text that tells too little.
        needed: 1 for a short text, whose only band is all of it.
    """

    bands: tuple[int, ...]
    needed: int


NOTHING = Fingerprint((), 1)


def fingerprint(text: str) -> Fingerprint:
    """The fingerprint of a post's text.

    Total: any text has one. Links, mentions, a retweet's prefix, case, punctuation and emoji do not change it.
    """
    bare = bare_text(text)
    unspaced = sum(map(len, _UNSPACED.findall(bare)))
    if len(bare) + 2 * unspaced < LEAST_LETTERS:
        return NOTHING
    size = SHINGLE_CHARS
    if unspaced * 2 > len(bare):
        bare, size = bare.replace(" ", ""), UNSPACED_SHINGLE_CHARS
    shingles = {bare[at : at + size] for at in range(len(bare) - size + 1)}
    if len(shingles) < LEAST_SHINGLES:
        whole = hashlib.blake2b(bare.encode("utf-8", "surrogatepass"), digest_size=8).digest()
        return Fingerprint((int.from_bytes(whole, "big") >> 3,), 1)
    return Fingerprint(_bands(shingles), BANDS_NEEDED)


def bare_text(text: str) -> str:
    """The letters and digits that the author wrote, folded, with single spaces between words; no lone surrogate."""
    text = without_mentions_and_links(_RETWEET.sub("", text[:MOST_CHARS], count=1))
    folded = _COMBINING.sub("", unicodedata.normalize("NFKC", text).casefold())
    return _NO_LETTER.sub(" ", folded).strip()


def _bands(shingles: set[str]) -> tuple[int, ...]:
    """The MinHash in bands of `ROWS`, each hashed with its place."""
    sketch = RMinHash(num_perm=BANDS * ROWS, seed=SEED)
    sketch.update(list(shingles))
    row = sketch.digest()
    first, second, third = _FACTORS
    return tuple(
        ((row[at] << 32 | row[at + 1]) * first + row[at + 2] * second + at * third) % _PRIME
        for at in range(0, BANDS * ROWS, ROWS)
    )
