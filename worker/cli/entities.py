"""`polyvox entities`: what the alias table knows."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from worker.cli.analyze import Engine, open_analyzer
from worker.cli.configured import settings
from worker.cli.console import Exit, answer, examples, json_line, out, printable, run_async, say

if TYPE_CHECKING:
    from worker.entities.evaluate import Report, Score, Sentence
    from worker.entities.link import Linker
    from worker.events import Entity

Split = Literal["tune", "held"]
SAMPLE = Path(__file__).parents[2] / "samples" / "entities.tsv"

commands = typer.Typer(
    no_args_is_help=True,
    help="The canonical entities behind surface forms.",
    epilog=examples('polyvox entities lookup "苹果公司"', "polyvox entities lookup $AAPL --json"),
)


def add_to(app: typer.Typer) -> None:
    """Register the commands."""
    app.add_typer(commands, name="entities")


@commands.command(
    epilog=examples(
        'polyvox entities lookup "苹果公司" Москва',
        "polyvox entities lookup '$AAPL' iso4217:EUR --json",
        after="A form may have an entity of each kind: Nice is a city and a company, and a mention's type decides. "
        "Exit codes: 0 fine, 1 a form is not in the table, 2 wrong usage.",
    )
)
def lookup(
    forms: Annotated[list[str], typer.Argument(help="surface forms, cashtags, tickers or ids")],
    as_json: Annotated[bool, typer.Option("--json", help="one JSON object a form")] = False,
) -> None:
    """Say which entities a surface form stands for."""
    from rich.table import Table

    from worker.entities.table import load_aliases

    aliases = load_aliases()
    table = Table("form", "id", "kind", "name", "source", box=None, pad_edge=False)
    missing = []
    for form in forms:
        found = aliases.look_up(form)
        if not found:
            missing.append(form)
        if as_json:
            json_line({"form": form, "entities": [alias._asdict() for alias in found]})
        for alias in found:
            table.add_row(printable(form, 40), *(printable(part, 48) for part in alias))
    if not as_json and table.row_count:
        out().print(table)
    for form in missing:
        say(f"polyvox: no entity is called {printable(form, 60)}", "yellow")
    raise typer.Exit(Exit.PROBLEM if missing else Exit.FINE)


@commands.command(
    epilog=examples(
        "polyvox entities evaluate",
        "polyvox entities evaluate --split held --json | jq .total",
        after="Two figures: with the labelled mentions, which measures the linking alone, and with the mentions that "
        "the model finds, which is what the worker does.",
    )
)
def evaluate(
    path: Annotated[Path, typer.Argument(help="labelled sentences, in the format of the sample")] = SAMPLE,
    split: Annotated[Split | None, typer.Option(help="half of the sentences; all by default")] = None,
    inference: Annotated[Engine, typer.Option(help="who runs the model")] = "embedded",
    slips: Annotated[bool, typer.Option("--slips", help="list every error")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="one JSON object for each of the two")] = False,
) -> None:
    """Measure precision and recall of the ids on labelled sentences, per language."""
    from worker.entities.evaluate import evaluate as compare
    from worker.entities.evaluate import link_gold, read_sentences
    from worker.entities.link import Linker
    from worker.entities.table import load_aliases

    linker = Linker(load_aliases())
    sentences = [each for each in read_sentences(path) if split in (None, each.split)]
    found = {
        "labelled mentions": link_gold(linker, sentences),
        "mentions of the model": run_async(_link_model(linker, sentences, inference)),
    }
    for mentions, entities in found.items():
        report = compare(sentences, entities)
        if as_json:
            json_line({"mentions": mentions, "sentences": len(sentences), **_plain(report, slips)})
        else:
            _show(f"{mentions}, {len(sentences)} sentences", report, slips)


async def _link_model(linker: Linker, sentences: Sequence[Sentence], engine: Engine) -> list[list[Entity]]:
    """What the worker would publish for each sentence; nothing for one that it cannot read."""
    from worker.errors import BadRecord

    async with open_analyzer(settings(), engine) as analyzer:
        analyses = await analyzer.analyze([(each.text, each.language) for each in sentences])
    return [
        [] if isinstance(one, BadRecord) else linker.link(sentence.text, one.entities, one.language)
        for sentence, one in zip(sentences, analyses, strict=True)
    ]


def _plain(report: Report, slips: bool) -> dict[str, object]:
    def shown(score: Score) -> dict[str, object]:
        return score._asdict() | {"precision": score.precision, "recall": score.recall}

    plain = {
        "total": shown(report.total),
        "kinds": {name: shown(score) for name, score in report.kinds.items()},
        "languages": {name: shown(score) for name, score in report.languages.items()},
    }
    return plain | ({"slips": [slip._asdict() for slip in report.slips]} if slips else {})


def _show(title: str, report: Report, slips: bool) -> None:
    from rich.table import Table

    table = Table("", "precision", "recall", "right", "wrong", "missed", title=title, box=None, pad_edge=False)
    for name, score in [*report.languages.items(), *report.kinds.items(), ("all", report.total)]:
        table.add_row(name, _share(score.precision), _share(score.recall), *map(str, score))
    out().print(table)
    for slip in report.slips if slips else ():
        answer(f"{slip.language}\t{printable(slip.text, 40)}\texpected {slip.expected}\tgiven {slip.given}")


def _share(share: float | None) -> str:
    return "" if share is None else f"{share:.3f}"
