"""Entities that need no tagger: cashtags, pairs of currency codes, and unmistakable names of currencies.

The tagger has no type for money, so a currency would never be a mention otherwise.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import ahocorasick

from worker.entities.endings import PREFIX, SUFFIX
from worker.entities.fold import Folded
from worker.entities.table import Alias, Aliases
from worker.events import Entity

_CASHTAG = re.compile(r"(?<![\w$])[$＄]([A-Za-z]{1,5}(?:[.-][A-Za-z])?)(?![\w$])")
_PAIR = re.compile(r"(?<![\w/])([A-Z]{3})/([A-Z]{3})(?![\w/])")
_HAN_OR_THAI = re.compile("[\u0e00-\u0e7f\u3040-\u309f\u3400-\u9fff]")
_KATAKANA = re.compile("[\u30a1-\u30fa\u30fc]")
_MAGNITUDE = (
    r"k|mn?|bn|mio\.?|mrd\.?|mil|mila|mille|mln\.?|mld\.?|mlrd\.?|mi[lł]l?j?ion[a-z]{0,3}|mi[lł]l?j?i?ard[a-z]{0,2}|milhoes|"
    r"billion|trillion|thousands?|hundreds?|tausend|tusen|few|several|some|quelques|unos|pocos|alcuni|einige|millones|"
    r"тыс\.?|тысяч[аиу]?|тисяч[аиіу]?|сот(?:ен|ни)|млн\.?|млрд\.?|ми?[иі]л[а-яі]{2,7}|milyon|milyar|bin|ribu|juta|miliar|"
    r"tys\.?|tisic|millio|milliard|万|亿|億|萬|兆|만|억|조|الف|الاف|مليون|مليار|लाख|करोड़|हज़ार|אלף|מיליון|מיליארד|ล้าน|พัน|few"
)
_AMOUNT = re.compile(rf"(?:\d[\d.,]*[ ]?|(?<!\w)(?:{_MAGNITUDE})[ ]?(?:(?:de|di|of|d')[ ]?)?)$")
"""Sums of money are no talk about a currency, just as `$100` is no cashtag."""

Match = tuple[int, int, Sequence[int]]
"""A form in a folded text: start, end, numbers of its entities."""


class Symbol(NamedTuple):
    """A stretch of the original text that is an entity by itself."""

    start: int
    end: int
    alias: Alias


def symbols(text: str, aliases: Aliases) -> Iterator[Symbol]:
    """Cashtags of known tickers, and both sides of pairs of currency codes (`EUR/USD`)."""
    for found in _CASHTAG.finditer(text):
        number = aliases.tickers.get(found[1].upper().replace(".", "-"))
        if number is not None:
            yield Symbol(found.start(), found.end(), aliases.entities[number])
    for found in _PAIR.finditer(text):
        pair = [aliases.by_id.get(f"iso4217:{code}") for code in found.groups()]
        for side, number in zip((1, 2), pair, strict=True):
            if number is not None and None not in pair:
                yield Symbol(*found.span(side), aliases.entities[number])


def forms_in(text: str, automaton: ahocorasick.Automaton) -> list[Match]:
    """Every form of an automaton in a folded text."""
    if not automaton:  # one without forms cannot be asked
        return []
    return [(last + 1 - size, last + 1, numbers) for last, (size, *numbers) in automaton.iter(text)]


def money(folded: Folded, mentions: Sequence[Entity], aliases: Aliases) -> Iterator[Symbol]:
    """Names of currencies that mean nothing else, as words of their own and without an amount; the longest first.

    One inside a longer mention (`Dollar General`) is part of that name.
    """
    text, taken = folded.text, 0
    found = forms_in(text, aliases.unmistakable)
    for first, last, numbers in sorted(found, key=lambda match: (match[0], -match[1])):
        if first < taken or not _stands_alone(text, first, last) or _AMOUNT.search(text, max(0, first - 32), first):
            continue
        taken = last
        start, end = folded.original(first, last)
        if not any(
            each.start < end and start < each.end and not start <= each.start < each.end <= end for each in mentions
        ):
            alias = next(aliases.entities[number] for number in numbers if aliases.entities[number].kind == "currency")
            yield Symbol(start, end, alias)


def _stands_alone(text: str, first: int, last: int) -> bool:
    """Whether a form is a word, but for clitics and endings: アイドル has no ドル in it, and 자유로운 no 유로."""
    if _HAN_OR_THAI.match(text[first]):
        return True
    if _KATAKANA.match(text[first]):
        return not _KATAKANA.match(text[first - 1 : first]) and not _KATAKANA.match(text[last : last + 1])
    start, end = first, last
    while start > 0 and text[start - 1].isalpha():
        start -= 1
    while end < len(text) and text[end].isalpha():
        end += 1
    return bool(PREFIX.fullmatch(text, start, first) and SUFFIX.fullmatch(text, last, end))


def entity_of(text: str, symbol: Symbol, mentions: Sequence[Entity]) -> Entity:
    """A symbol as an entity; of type ORG, since events have no type for money, and certain, since nobody guessed.

    Its sentiment is that of a mention in whose place it stands, if any.
    """
    start, end, alias = symbol
    sentiment = next((each.sentiment for each in mentions if start < each.end and each.start < end), None)
    return Entity(
        type="ORG", text=text[start:end], start=start, end=end, confidence=1.0, sentiment=sentiment, id=alias.id
    )
