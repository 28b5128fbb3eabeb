"""One row of the table in the making, and the rule for forms that several entities share."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from worker.entities.fold import fold
from worker.entities.table import UNMISTAKABLE, Alias, Kind

FORM_CHARS = 60
_LETTERS = re.compile(r"[^\W\d_]")
_SHORT_SCRIPTS = re.compile("[\u3040-\u30ff\u3400-\u9fff\uac00-\ud7a3]")


@dataclass(slots=True)
class Row:
    """An entity with all its forms as written, those that need no tagger again, and its ticker symbols."""

    alias: Alias
    forms: list[str] = field(default_factory=list)
    tickers: list[str] = field(default_factory=list)
    unmistakable: list[str] = field(default_factory=list)


def usable(folded: str) -> bool:
    """Whether a form says enough to stand for an entity: two letters, or one where a letter is a word."""
    letters = len(_LETTERS.findall(folded))
    enough = letters >= 2 or (letters == 1 and bool(_SHORT_SCRIPTS.search(folded)))
    return enough and len(folded) <= FORM_CHARS and "|" not in folded and "\t" not in folded


def settle(rows: Sequence[Row]) -> list[tuple[Alias, list[str], list[str]]]:
    """Give each form to the first row of its kind that claims it, and each ticker to the first row at all.

    So the order of `rows` is the rule for shared names: see `docs/entities.md`. A row that is left with nothing goes.
    """
    taken: set[tuple[Kind, str]] = set()
    symbols: set[str] = set()
    settled = []
    for row in rows:
        forms = list(_fresh(((row.alias.kind, form) for form in _folded(row)), taken))
        tickers = [symbol for symbol in dict.fromkeys(row.tickers) if symbol not in symbols]
        symbols.update(tickers)
        if forms or tickers:
            free = {fold(form) for form in row.unmistakable}
            marked = [UNMISTAKABLE + form if form in free else form for form in sorted(form for _, form in forms)]
            settled.append((row.alias, marked, tickers))
    return settled


def _folded(row: Row) -> list[str]:
    """The forms that are usable; in Arabic also without the article, which a preposition swallows half of."""
    folded = [fold(form) for form in (row.alias.name, *row.forms)]
    folded += [
        form.removeprefix("ال") for form in folded if form.startswith("ال") and " " not in form and len(form) > 4
    ]
    return list(dict.fromkeys(form for form in folded if usable(form)))


def _fresh(keys: Iterable[tuple[Kind, str]], taken: set[tuple[Kind, str]]) -> Iterable[tuple[Kind, str]]:
    for key in keys:
        if key not in taken:
            taken.add(key)
            yield key
