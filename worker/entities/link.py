"""Gives mentions their canonical ids: one pass of the automaton over a text that has mentions, and cashtags.

A form links only where the tagger saw a mention of a fitting type, so an apple stays a fruit and a target a goal. A
cashtag needs no tagger: it is an entity by itself. Rules for what is ambiguous: `docs/entities.md`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

import msgspec

from worker.entities.endings import PREFIX, SUFFIX, base_forms
from worker.entities.fold import Folded, fold_text
from worker.entities.table import Alias, Aliases, Kind
from worker.events import Analysis, Entity, EntityType

# Which kinds a mention can mean by its type, the preferred one first. People are nobody's alias.
_KINDS: dict[EntityType, tuple[Kind, ...]] = {
    "ORG": ("company", "country", "city", "currency"),
    "LOC": ("country", "city", "company", "currency"),
    "PER": (),
}
_CASHTAG = re.compile(r"(?<![\w$])[$＄]([A-Za-z]{1,5}(?:[.-][A-Za-z])?)(?![\w$])")
_PAIR = re.compile(r"(?<![\w/])([A-Z]{3})/([A-Z]{3})(?![\w/])")
_MIN_BARE_TICKER = 3


class Linker:
    """Links the mentions of texts; holds no state, so threads may share it.

    Args:
        aliases: the table.
    """

    def __init__(self, aliases: Aliases) -> None:
        self._aliases = aliases

    def link(self, text: str, mentions: Sequence[Entity], language: str) -> list[Entity]:
        """The mentions with their ids, and the cashtags and currency pairs that the tagger missed, by place.

        Args:
            text: the original text, to which the mentions' offsets belong.
            mentions: in order and apart from each other.
            language: which inflections to expect.
        """
        symbols = list(self._symbols(text)) if "$" in text or "＄" in text or "/" in text else []
        if not mentions:
            return [_entity_of(text, (), *symbol) for symbol in symbols]
        folded = fold_text(text)
        matches = self._matches(folded.text)
        linked = []
        for mention in mentions:
            if any(start < mention.end and mention.start < end for start, end, _ in symbols):
                continue  # the symbol says which part of it is the name
            alias = self._alias(folded, mention, matches, language)
            linked.append(msgspec.structs.replace(mention, id=alias.id) if alias else mention)
        linked += [_entity_of(text, mentions, *symbol) for symbol in symbols]
        return sorted(linked, key=lambda entity: entity.start)

    def _symbols(self, text: str) -> Iterator[tuple[int, int, Alias]]:
        """Cashtags of known tickers, and both sides of pairs of currency codes: start, end and entity."""
        tickers, entities = self._aliases.tickers, self._aliases.entities
        for found in _CASHTAG.finditer(text):
            number = tickers.get(found[1].upper().replace(".", "-"))
            if number is not None:
                yield found.start(), found.end(), entities[number]
        for found in _PAIR.finditer(text):
            pair = [self._aliases.by_id.get(f"iso4217:{code}") for code in found.groups()]
            for side, number in zip((1, 2), pair, strict=True):
                if number is not None and None not in pair:
                    yield *found.span(side), entities[number]

    def _matches(self, text: str) -> list[tuple[int, int, tuple[int, ...]]]:
        """Every form in a folded text: start, end, numbers of entities."""
        return [(last + 1 - size, last + 1, numbers) for last, (size, *numbers) in self._aliases.automaton.iter(text)]

    def _alias(
        self, folded: Folded, mention: Entity, matches: Sequence[tuple[int, int, tuple[int, ...]]], language: str
    ) -> Alias | None:
        """What a mention means: by its longest form, else by the form without its ending, else by its ticker."""
        kinds = _KINDS[mention.type]
        if not kinds:
            return None
        start, end = folded.span(mention.start, mention.end)
        inside = [match for match in matches if start <= match[0] and match[1] <= end]
        for first, last, numbers in sorted(inside, key=lambda match: (match[0] - match[1], match[0])):
            alone = PREFIX.fullmatch(folded.text, start, first) and SUFFIX.fullmatch(folded.text, last, end)
            if alone and (alias := self._fitting(numbers, kinds)):
                return alias
        for base in base_forms(folded.text[start:end], language):
            if alias := self._fitting(self._aliases.automaton.get(base, (0,))[1:], kinds):
                return alias
        return self._by_ticker(mention.text) if mention.type == "ORG" else None

    def _fitting(self, numbers: Sequence[int], kinds: Sequence[Kind]) -> Alias | None:
        """The entity of the kind that a mention prefers."""
        found = {self._aliases.entities[number].kind: self._aliases.entities[number] for number in numbers}
        return next((found[kind] for kind in kinds if kind in found), None)

    def _by_ticker(self, text: str) -> Alias | None:
        """The company of a ticker that stands alone; one or two letters say too little."""
        number = self._aliases.tickers.get(text) if len(text) >= _MIN_BARE_TICKER else None
        return None if number is None else self._aliases.entities[number]


def _entity_of(text: str, mentions: Sequence[Entity], start: int, end: int, alias: Alias) -> Entity:
    """A symbol as an entity; of type ORG, since events have no type for money, and certain, since nobody guessed.

    Its sentiment is that of the mention in whose place it stands, if any.
    """
    sentiment = next((each.sentiment for each in mentions if start < each.end and each.start < end), None)
    return Entity(
        type="ORG", text=text[start:end], start=start, end=end, confidence=1.0, sentiment=sentiment, id=alias.id
    )


def with_ids(linker: Linker, text: str, analysis: Analysis) -> Analysis:
    """The analysis of a text with the ids of its mentions."""
    return msgspec.structs.replace(analysis, entities=linker.link(text, analysis.entities, analysis.language))
