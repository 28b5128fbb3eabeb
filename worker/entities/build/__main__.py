"""`python -m worker.entities.build`: write the table anew and say what is in it."""

from __future__ import annotations

import gzip
import sys
from collections import Counter
from pathlib import Path

from worker.entities.build.companies import companies
from worker.entities.build.curated import read_extras
from worker.entities.build.currencies import currencies
from worker.entities.build.places import cities, countries
from worker.entities.build.rows import Row, settle
from worker.entities.table import TABLE


def table_text() -> str:
    """The whole table: id, kind, name, source, folded forms and tickers, one entity a line."""
    places = read_extras("places.tsv")
    rows: list[Row] = [
        *companies(read_extras("companies.tsv")),
        *countries(places),
        *cities(places),
        *currencies(read_extras("currencies.tsv")),
    ]
    lines = []
    for alias, forms, tickers in settle(rows):
        name = " ".join(alias.name.split())
        lines.append("\t".join((alias.id, alias.kind, name, alias.source, "|".join(forms), " ".join(tickers))) + "\n")
    return "".join(lines)


def write(path: Path, text: str) -> None:
    """Compress without a name or a time, so that the same text is the same file."""
    path.write_bytes(gzip.compress(text.encode(), compresslevel=9, mtime=0))


if __name__ == "__main__":
    text = table_text()
    write(TABLE, text)
    kinds = Counter(line.split("\t")[1] for line in text.splitlines())
    forms = sum(line.split("\t")[4].count("|") + 1 for line in text.splitlines())
    counts = ", ".join(f"{count:,} {kind}" for kind, count in sorted(kinds.items()))
    sys.stdout.write(f"{counts}; {forms:,} forms; {TABLE.stat().st_size:,} bytes\n")
