"""Precision and recall of the ids on labelled sentences, per language and kind.

Two questions: how good is the linking where the mentions are known, and what is left of it with those of a model.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, NamedTuple, get_args

from worker.entities.link import Linker
from worker.events import Entity, EntityType

Split = Literal["tune", "held"]
_MARKED = re.compile(r"\[([^\[\]]+):(PER|ORG|LOC|CUR)=([^\[\]=]+)\]")
_KINDS = {"cik": "company", "isin": "company", "org": "company", "iso3166": "place", "geonames": "place"}


class Gold(NamedTuple):
    """A mention as people labelled it; `id` is None where there should be none."""

    start: int
    end: int
    type: str
    id: str | None


@dataclass(frozen=True, slots=True)
class Sentence:
    """One labelled text."""

    split: Split
    language: str
    text: str
    gold: tuple[Gold, ...]

    @property
    def mentions(self) -> list[Entity]:
        """The labelled mentions as a tagger would report them; money, for which it has no type, as ORG."""
        types: dict[str, EntityType] = {name: name for name in get_args(EntityType)}
        return [
            Entity(
                type=types.get(each.type, "ORG"),
                text=self.text[each.start : each.end],
                start=each.start,
                end=each.end,
                confidence=1.0,
            )
            for each in self.gold
        ]


class Score(NamedTuple):
    """Counts of ids: right, given but not right, and expected but not given right."""

    right: int = 0
    wrong: int = 0
    missed: int = 0

    @property
    def precision(self) -> float | None:
        """Share of the given ids that are right; None without any."""
        return self.right / (self.right + self.wrong) if self.right + self.wrong else None

    @property
    def recall(self) -> float | None:
        """Share of the expected ids that were given; None without any."""
        return self.right / (self.right + self.missed) if self.right + self.missed else None

    def plus(self, other: Score) -> Score:
        """The sum."""
        return Score(*(mine + theirs for mine, theirs in zip(self, other, strict=True)))


class Slip(NamedTuple):
    """One error: the text of a mention, the id it should have and the one it got."""

    language: str
    text: str
    expected: str | None
    given: str | None


@dataclass(frozen=True, slots=True)
class Report:
    """Scores by language and by kind (company, place, currency), in all, and every error."""

    languages: dict[str, Score]
    kinds: dict[str, Score]
    total: Score
    slips: list[Slip]


def read_sentences(path: Path) -> list[Sentence]:
    """Read `samples/entities.tsv`: split, language and marked text, parted by tabs.

    Raises:
        OSError, ValueError: the file is missing, or a line has other fields.
    """
    return list(_sentences(path.read_text(encoding="utf-8").splitlines()))


def _sentences(lines: Iterable[str]) -> Iterator[Sentence]:
    for line in lines:
        if line.startswith("#"):
            continue
        split, language, marked = line.split("\t")
        if split not in get_args(Split):
            raise ValueError(f"unknown split {split!r}: expected one of {', '.join(get_args(Split))}")
        text, gold, read = "", [], 0
        for found in _MARKED.finditer(marked):
            text += marked[read : found.start()]
            entity_id = None if found[3] == "-" else found[3]
            gold.append(Gold(len(text), len(text) + len(found[1]), found[2], entity_id))
            text, read = text + found[1], found.end()
        yield Sentence("tune" if split == "tune" else "held", language, text + marked[read:], tuple(gold))


def evaluate(sentences: Sequence[Sentence], found: Sequence[Sequence[Entity]]) -> Report:
    """Compare the linked entities of each sentence with its labels: right is the id on a span that overlaps."""
    languages: dict[str, Score] = {}
    kinds: dict[str, Score] = {}
    slips: list[Slip] = []
    for sentence, entities in zip(sentences, found, strict=True):
        for kind, score, slip in _compare(sentence, [each for each in entities if each.id is not None]):
            languages[sentence.language] = languages.get(sentence.language, Score()).plus(score)
            kinds[kind] = kinds.get(kind, Score()).plus(score)
            slips += [slip] if slip else []
    total = Score()
    for score in languages.values():
        total = total.plus(score)
    return Report(languages, dict(sorted(kinds.items())), total, slips)


def _compare(sentence: Sentence, given: list[Entity]) -> Iterator[tuple[str, Score, Slip | None]]:
    """One score an id that is expected or given; a wrong id on an expected mention is both wrong and missed."""
    left = list(given)
    for gold in sentence.gold:
        on_it = [each for each in left if each.start < gold.end and gold.start < each.end]
        hit = next((each for each in on_it if each.id == gold.id), None)
        if hit is not None:
            left.remove(hit)
            yield _kind(hit.id), Score(right=1), None
        elif gold.id is not None:
            slip = Slip(
                sentence.language, sentence.text[gold.start : gold.end], gold.id, on_it[0].id if on_it else None
            )
            yield _kind(gold.id), Score(missed=1), slip
    for each in left:
        yield _kind(each.id), Score(wrong=1), Slip(sentence.language, each.text, None, each.id)


def _kind(entity_id: str | None) -> str:
    return _KINDS.get((entity_id or "").partition(":")[0], "currency")


def link_gold(linker: Linker, sentences: Sequence[Sentence]) -> list[list[Entity]]:
    """The labelled mentions of each sentence with their ids."""
    return [linker.link(each.text, each.mentions, each.language) for each in sentences]
