"""The alias table in memory: canonical ids, their forms, and the automaton that finds the forms in a text."""

from __future__ import annotations

import gzip
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Literal, NamedTuple, get_args

import ahocorasick

from worker.entities.fold import fold

TABLE = Path(__file__).with_name("aliases.tsv.gz")

Kind = Literal["country", "city", "company", "currency"]
UNMISTAKABLE = "!"
"""Before a form in the file: it names a currency without a tagger's word for it."""
KINDS: tuple[Kind, ...] = get_args(Kind)


class Alias(NamedTuple):
    """One entity of the table.

    Args:
        id: `iso3166:US`, `iso4217:EUR`, `geonames:2988507`, `cik:0000320193`, `isin:DE0007236101` or `org:bytedance`.
        name: to show to people.
        source: which list it is from; `docs/entities.md` has their licences.
    """

    id: str
    kind: Kind
    name: str
    source: str


@dataclass(frozen=True, slots=True)
class Aliases:
    """Every entity, and what leads to it.

    Args:
        entities: by number.
        automaton: folded form to its length and the numbers of its entities, one of each kind at most.
        tickers: symbol, in capitals, to a number.
        by_id: canonical id to a number.
        unmistakable: as `automaton`, of names of currencies that mean nothing else, with or without a tagger. It reads
            a text in a third of the time.
    """

    entities: tuple[Alias, ...]
    automaton: ahocorasick.Automaton
    tickers: dict[str, int]
    by_id: dict[str, int]
    unmistakable: ahocorasick.Automaton

    def candidates(self, folded: str) -> list[Alias]:
        """The entities of a folded form, at most one of each kind."""
        return [self.entities[number] for number in self.automaton.get(folded, ())[1:]]

    def look_up(self, form: str) -> list[Alias]:
        """For people: what a surface form, a cashtag, a ticker or an id can mean; most specific first."""
        found = [self.by_id.get(form), self.tickers.get(form.removeprefix("$").upper())]
        if form.startswith("$"):
            return [self.entities[number] for number in found[1:] if number is not None]
        exact = [self.entities[number] for number in found[:1] if number is not None]
        symbol = [self.entities[number] for number in found[1:] if number is not None and form.isupper()]
        return list(dict.fromkeys([*exact, *self.candidates(fold(form)), *symbol]))

    def name_of(self, entity_id: str) -> str:
        """What to show for an id; an id that the table lacks is its own name."""
        number = self.by_id.get(entity_id)
        return entity_id if number is None else self.entities[number].name


@cache
def load_aliases(path: Path = TABLE) -> Aliases:
    """Read the table; takes about 0.3 s, once a process.

    Raises:
        OSError, ValueError: the file is missing or is not one that `make aliases` wrote.
    """
    return make_aliases(rows(path))


def make_aliases(table: Iterable[tuple[Alias, list[str], list[str]]]) -> Aliases:
    """The table of some entities, each with its folded forms and its tickers; a form has one entity of a kind."""
    entities: list[Alias] = []
    numbers: dict[str, list[int]] = {}
    tickers: dict[str, int] = {}
    unmistakable: set[str] = set()
    for number, (alias, forms, symbols) in enumerate(table):
        entities.append(alias)
        for written in forms:
            form = written.removeprefix(UNMISTAKABLE)
            numbers.setdefault(form, []).append(number)
            if form != written:
                unmistakable.add(form)
        for symbol in symbols:
            tickers[symbol] = number
    by_id = {alias.id: at for at, alias in enumerate(entities)}
    currencies = {form: numbers[form] for form in unmistakable}
    return Aliases(tuple(entities), _automaton(numbers), tickers, by_id, _automaton(currencies))


def _automaton(numbers: Mapping[str, Sequence[int]]) -> ahocorasick.Automaton:
    automaton = ahocorasick.Automaton(ahocorasick.STORE_ANY)
    for form, found in numbers.items():
        automaton.add_word(form, (len(form), *found))
    automaton.make_automaton()
    return automaton


def rows(path: Path) -> Iterator[tuple[Alias, list[str], list[str]]]:
    """Each entity of the file with its folded forms and its tickers."""
    with gzip.open(path, "rt", encoding="utf-8", newline="\n") as lines:
        for line in lines:
            entity_id, kind, name, source, forms, symbols = line.rstrip("\n").split("\t")
            if kind not in KINDS:
                raise ValueError(
                    f"{path}: {entity_id} is of the unknown kind {kind!r}; write it anew with `make aliases`"
                )
            yield Alias(entity_id, kind, name, source), forms.split("|") if forms else [], symbols.split()
