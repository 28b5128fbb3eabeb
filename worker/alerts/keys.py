"""Which posts belong to which key under watch, and what a key is called."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from worker.opinion.cells import Cell
from worker.opinion.index.tally import Tally
from worker.opinion.shifts.words import Key

Tallies = Mapping[Cell, Tally]

_SEPARATOR = "\x1f"


def tallies_by_key(posts: Tallies, entities: Mapping[str, Tallies]) -> dict[Key, dict[Cell, Tally]]:
    """The posts of each key; a post belongs to a language and topic, a source class and any number of entities."""
    found: dict[Key, dict[Cell, Tally]] = {}
    for cell, tally in posts.items():
        for key in keys_of(cell):
            found.setdefault(key, {})[cell] = tally
    for entity, tallies in entities.items():
        if tallies:
            found[Key("entity", (entity,))] = dict(tallies)
    return found


def keys_of(cell: Cell) -> tuple[Key, Key]:
    """The keys that a post of a cell belongs to, entities apart."""
    return Key("language_topic", (cell.language, cell.topic)), Key("source_class", (cell.source_class,))


def name_of(key: Key) -> str:
    """A key as the store names its detector."""
    return _SEPARATOR.join((key.kind, *key.values))


def parse_name(name: str) -> Key:
    """The key of a name."""
    kind, *values = name.split(_SEPARATOR)
    return msgspec.convert({"kind": kind, "values": values}, Key)
