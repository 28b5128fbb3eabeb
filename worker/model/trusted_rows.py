"""Which rows of a file have labels that follow their texts, where not all do."""

import tomllib
from dataclasses import replace
from functools import cache
from pathlib import Path

from worker.model.data import DataFile
from worker.model.licences import TABLE


def trusted(file: DataFile, table: Path = TABLE) -> DataFile:
    """The file with the rows that its source's entry trusts: all of them, unless the entry says otherwise.

    An entry gives rows for a language and split, as `trusted.hi-Latn.dev = { split = "train", rows = [1530, 1830] }`:
    where no row of a split can be trusted, held-out rows of another one stand in.
    """
    found = _entries(table).get(file.task, {}).get(file.source, {}).get("trusted", {})
    place = found.get(file.language, {}).get(file.split)
    if place is None:
        return file
    name = file.path.name.replace(f".{file.split}.", f".{place['split']}.")
    first, end = place["rows"]
    return replace(file, path=file.path.with_name(name), rows=(first, end))


@cache
def _entries(table: Path) -> dict[str, dict[str, dict]]:  # type: ignore[type-arg]
    return tomllib.loads(table.read_text(encoding="utf-8"))
