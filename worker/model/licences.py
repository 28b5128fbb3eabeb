"""What the terms of the recipe's sources allow: the table of licences, and the recipe that keeps to them."""

import tomllib
from dataclasses import replace
from pathlib import Path
from typing import Any

from worker.analysis.bundle import Licence
from worker.model.recipe import Recipe

TABLE = Path(__file__).parent / "recipes" / "sources.toml"
COMMERCIAL = "C"
Licences = dict[tuple[str, str], tuple[str, str, str]]  # (task, source) -> (repository, licence, use)


class SourceTableError(ValueError):
    """A source of the recipe has no licence entry, or a task no source that may be used."""


def source_licences(recipe: Recipe, table: Path = TABLE) -> Licences:
    """The licence of every source of the recipe; SourceTableError names one that is missing."""
    raw = tomllib.loads(table.read_text(encoding="utf-8"))
    found = {}
    for task, part in recipe.tasks().items():
        for source in part.sources:
            entry = raw.get(task, {}).get(source.name)
            if entry is None:
                raise SourceTableError(f"{table} lacks [{task}.{source.name}]; read the source's licence and add it")
            found[task, source.name] = (entry["repository"], entry["licence"], entry["use"])
    return found


def permitted(recipe: Recipe, licence: Licence, table: Path = TABLE) -> Recipe:
    """The recipe with the sources that a model of this licence may learn from.

    Raises:
        SourceTableError: a source has no entry, or a task no source left.
    """
    if licence == "any":
        return recipe
    uses = source_licences(recipe, table)
    tasks: dict[str, Any] = {
        name: replace(task, sources=tuple(each for each in task.sources if uses[name, each.name][2] == COMMERCIAL))
        for name, task in recipe.tasks().items()
    }
    if empty := [name for name, task in tasks.items() if not task.sources]:
        raise SourceTableError(f"no source of {' and '.join(empty)} is marked {COMMERCIAL} in {table}: add one")
    return replace(recipe, **tasks)


def licence_of(recipe: Recipe, table: Path = TABLE) -> Licence:
    """What the weights may be used for, by the sources alone; one without an entry allows nothing."""
    try:
        uses = {use for _, _, use in source_licences(recipe, table).values()}
    except SourceTableError:
        return "any"
    return "commercial" if uses == {COMMERCIAL} else "any"
