"""What code-switching switches between: names of one type, and a few words of feeling, in several languages."""

import csv
import random
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from worker.model.data import SPAN_TYPES, Example

WORDS_FILE = Path(__file__).parent / "recipes" / "sentiment_words.tsv"
MENTIONS = 2000  # of one type and language: more would add rare names only


@dataclass(frozen=True)
class Lexica:
    """Aligned by type (mentions) and by meaning (words)."""

    mentions: Mapping[str, Mapping[str, tuple[str, ...]]]  # type -> language -> names
    words: Mapping[tuple[str, str], Mapping[str, str]]  # (language, word) -> language -> translation

    def other_mention(self, kind: str, language: str, rng: random.Random) -> str | None:
        """A name of the type from another language, each language as likely."""
        others = sorted(set(self.mentions.get(kind, {})) - {language})
        return rng.choice(self.mentions[kind][rng.choice(others)]) if others else None

    def translation(self, word: str, language: str, rng: random.Random) -> str | None:
        """The word in another language; None for a word that the table does not hold."""
        others = self.words.get((language, word))
        return others[rng.choice(sorted(others))] if others else None


def make_lexica(examples: Iterable[Example]) -> Lexica:
    """Names from the examples' spans, words from the table of the package."""
    mentions: dict[str, dict[str, dict[str, None]]] = {kind: defaultdict(dict) for kind in SPAN_TYPES}
    for example in examples:
        for start, end, kind in example.spans or ():
            if kind in mentions and len(mentions[kind][example.language]) < MENTIONS:
                mentions[kind][example.language][example.text[start:end]] = None
    named = {kind: {language: tuple(names) for language, names in found.items()} for kind, found in mentions.items()}
    return Lexica(named, sentiment_words())


@cache
def sentiment_words() -> dict[tuple[str, str], dict[str, str]]:
    """(language, word) -> its translations by language; a word with two meanings in one language keeps the first."""
    table: dict[tuple[str, str], dict[str, str]] = {}
    with WORDS_FILE.open(encoding="utf-8", newline="") as lines:
        for row in csv.DictReader(lines, delimiter="\t"):
            for language, word in row.items():
                table.setdefault((language, word), {other: text for other, text in row.items() if other != language})
    return table
