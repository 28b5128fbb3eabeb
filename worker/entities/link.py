"""Gives mentions their canonical ids: one pass of the automaton over a text that has any, and what needs no tagger.

A form links only where the tagger saw a mention of a fitting type, so an apple stays a fruit and a target a goal;
`symbols.py` has the exceptions. Rules for what is ambiguous: `docs/entities.md`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

import msgspec

from worker.entities.endings import PREFIX, SUFFIX, base_forms
from worker.entities.fold import Folded, fold_text
from worker.entities.symbols import Match, entity_of, forms_in, money, symbols
from worker.entities.table import Alias, Aliases, Kind
from worker.events import Analysis, Entity, EntityType

# Which kinds a mention can mean by its type, the preferred one first. People are nobody's alias, and an ORG of a city's
# name is mostly its club.
_KINDS: dict[EntityType, tuple[Kind, ...]] = {
    "ORG": ("company", "country", "currency"),
    "LOC": ("country", "city", "company", "currency"),
    "PER": (),
}
_CJK = re.compile("[\u3040-\u30ff\u3400-\u9fff\uac00-\ud7a3]+")
_MIN_BARE_TICKER = 4
"""Of three letters on real posts most were other things: NHS, CCI, ETN."""


class Linker:
    """Links the mentions of texts; holds no state, so threads may share it.

    Args:
        aliases: the table.
    """

    def __init__(self, aliases: Aliases) -> None:
        self._aliases = aliases

    def link(self, text: str, mentions: Sequence[Entity], language: str) -> list[Entity]:
        """The mentions with their ids, and the symbols that the tagger missed, by place.

        A mention that a symbol overlaps gives way to it: the symbol says which part of it is the name.

        Args:
            text: the original text, to which the mentions' offsets belong.
            mentions: in order and apart from each other.
            language: which inflections to expect.
        """
        folded = fold_text(text)
        found = list(symbols(text, self._aliases)) if "$" in text or "＄" in text or "/" in text else []
        for word in money(folded, mentions, self._aliases):
            if not any(word.start < each.end and each.start < word.end for each in found):
                found.append(word)
        linked = [entity_of(text, symbol, mentions) for symbol in found]
        matches = forms_in(folded.text, self._aliases.automaton) if mentions else []
        for mention in mentions:
            if not any(each.start < mention.end and mention.start < each.end for each in found):
                alias = self._alias(folded, mention, matches, language)
                linked.append(msgspec.structs.replace(mention, id=alias.id) if alias else mention)
        return sorted(linked, key=lambda entity: entity.start)

    def _alias(self, folded: Folded, mention: Entity, matches: Sequence[Match], language: str) -> Alias | None:
        """What a mention means: by its longest form, else by the form without its ending, else by its ticker."""
        kinds = _KINDS[mention.type]
        if not kinds:
            return None
        span = folded.span(mention.start, mention.end)
        for numbers in _numbers(folded.text, span, matches):
            if alias := self._fitting(numbers, kinds):
                return alias
        for base in base_forms(folded.text[slice(*span)], language):
            if alias := self._fitting(self._aliases.automaton.get(base, (0,))[1:], kinds):
                return alias
        return self._by_ticker(mention.text) if mention.type == "ORG" else None

    def _fitting(self, numbers: Sequence[int], kinds: Sequence[Kind]) -> Alias | None:
        """The entity of the kind that a mention prefers."""
        found = {self._aliases.entities[number].kind: self._aliases.entities[number] for number in numbers}
        return next((found[kind] for kind in kinds if kind in found), None)

    def _by_ticker(self, text: str) -> Alias | None:
        """The company of a ticker that stands alone; up to three letters say too little."""
        number = self._aliases.tickers.get(text) if len(text) >= _MIN_BARE_TICKER else None
        return None if number is None else self._aliases.entities[number]


def _numbers(text: str, span: tuple[int, int], matches: Sequence[Match]) -> Iterator[Sequence[int]]:
    """The entities of the forms that a mention can be, longest form first.

    A form is inside the mention but for what names wear, or around one that the tagger cut short (腾 of 腾讯).
    """
    start, end = span
    touching = [match for match in matches if match[0] < end and start < match[1]]
    for first, last, numbers in sorted(touching, key=lambda match: (match[0] - match[1], match[0])):
        if start <= first and last <= end:
            if PREFIX.fullmatch(text, start, first) and SUFFIX.fullmatch(text, last, end):
                yield numbers
        elif first <= start and end <= last and 2 * (end - start) >= last - first and _between_words(text, first, last):
            yield numbers


def _between_words(text: str, first: int, last: int) -> bool:
    """Whether a stretch begins and ends where words do; scripts without spaces have no such places."""
    before = first == 0 or not text[first - 1].isalnum() or bool(_CJK.match(text[first]))
    return before and (last == len(text) or not text[last].isalnum() or bool(_CJK.match(text[last - 1])))


def with_ids(linker: Linker, text: str, analysis: Analysis) -> Analysis:
    """The analysis of a text with the ids of its mentions."""
    return msgspec.structs.replace(analysis, entities=linker.link(text, analysis.entities, analysis.language))
