"""`polyvox model`: measure checkpoints and bundles, and write the card."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from enum import StrEnum
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from worker.cli.configured import settings
from worker.cli.console import answer, examples, json_line
from worker.cli.model.options import DEFAULT_DATA, DEFAULT_RECIPE, Data, MaxRows
from worker.cli.model.running import bar, train_errors

if TYPE_CHECKING:
    from worker.model.evaluate import Predict, Report

Checkpoint = Annotated[
    Path | None, typer.Option(help="a fine-tuned folder; by default the bundle of the settings, in this process")
]
ReportFolder = Annotated[
    Path | None, typer.Option("--out", help="also write <task>.md and its pictures to this folder")
]


class Task(StrEnum):
    """What can be evaluated."""

    SENTIMENT = "sentiment"
    TOPIC = "topic"
    NER = "ner"


class Engine(StrEnum):
    """Who runs the bundle that is evaluated."""

    EMBEDDED = "embedded"
    TRITON = "triton"


def add_to(group: typer.Typer) -> None:
    """Register the commands."""
    group.command(
        "evaluate",
        epilog=examples(
            "polyvox model evaluate",
            "polyvox model evaluate --task sentiment --data umsab/de.test.jsonl.xz umsab/fr.test.jsonl.xz --json",
            "polyvox model evaluate --task ner --checkpoint run/ckpt-latest --max-rows 300",
            "polyvox model evaluate --task topic --through triton",
            "polyvox model evaluate --task sentiment --out report     # report/sentiment.md and its pictures",
            after="Files are named <source>/<language>.<split>.jsonl or .jsonl.xz. A folder stands for its dev and "
            "test files; the data directory for the dev files of the recipe's sources.",
        ),
    )(evaluate)
    group.command(
        "evaluate-transfer",
        epilog=examples(
            "polyvox model evaluate-transfer de=run-de/ckpt-latest en=run-en/ckpt-latest --task sentiment --out report",
            "polyvox model evaluate-transfer de=run-de/ckpt-latest --task ner --data ner/wikiann --by source --json",
            after="A checkpoint's name says what it was trained on: the language or source that is its own column.",
        ),
    )(evaluate_transfer)
    group.command(
        "card",
        epilog=examples(
            'polyvox model card --training "1.2 hours on two CPU cores, 120,000 examples" --run run',
            after="Evaluates the bundle of the settings and writes MODEL_CARD.md beside it.",
        ),
    )(card)


def evaluate(  # noqa: PLR0913, PLR0917 - a command's options
    more: Annotated[
        list[Path] | None, typer.Argument(metavar="[PATH]...", help="further files or folders, as for --data")
    ] = None,
    task: Annotated[Task | None, typer.Option(help="what to measure; all three by default")] = None,
    data: Annotated[
        list[Path] | None,
        typer.Option(help="labelled files, or folders of them; by default the dev files of the recipe's sources"),
    ] = None,
    through: Annotated[
        Engine, typer.Option(help="who runs the bundle: this process, or the Triton of the settings")
    ] = Engine.EMBEDDED,
    checkpoint: Checkpoint = None,
    max_rows: MaxRows = None,
    out: ReportFolder = None,
    as_json: Annotated[bool, typer.Option("--json", help="one JSON object for each task")] = False,
) -> None:
    """Measure the model on labelled files, per language and source."""
    with train_errors():
        from worker.model.pictures import open_folder, write_report

        predict = _predictor(checkpoint, through)
        folder = open_folder(out) if out else None
        for report in _reports([task] if task else list(Task), [*(data or []), *(more or [])], predict, max_rows):
            if folder:
                write_report(folder, report)
            if as_json:
                json_line(report.to_json())
            else:
                answer(f"## {report.task}\n\n{report.to_markdown()}\n\n{report.details()}\n")


def evaluate_transfer(  # noqa: PLR0913, PLR0917 - a command's options
    checkpoints: Annotated[list[str], typer.Argument(metavar="NAME=FOLDER...", help="fine-tuned folders, by name")],
    task: Annotated[Task, typer.Option(help="what to measure")],
    data: Annotated[
        list[Path] | None,
        typer.Option(help="labelled files, or folders of them; by default the dev files of the recipe's sources"),
    ] = None,
    by: Annotated[Literal["language", "source"], typer.Option(help="what a column is")] = "language",
    max_rows: MaxRows = None,
    out: ReportFolder = None,
    as_json: Annotated[bool, typer.Option("--json", help="one JSON object")] = False,
) -> None:
    """Test checkpoints trained on one language or source each on all of them: the zero-shot matrix."""
    with train_errors():
        from worker.model.evaluate import evaluate_files
        from worker.model.files import evaluation_files
        from worker.model.pictures import open_folder, write_matrix
        from worker.model.predictors import checkpoint_predictor
        from worker.model.recipe import read_recipe
        from worker.model.transfer import evaluate_transfer as run
        from worker.model.transfer import parse_checkpoints

        recipe = read_recipe(DEFAULT_RECIPE)
        models = {name: partial(checkpoint_predictor, path) for name, path in parse_checkpoints(checkpoints).items()}
        files = evaluation_files(task, data or [DEFAULT_DATA], recipe)
        folder = open_folder(out) if out else None

        def score(predict: Predict) -> Report:
            return evaluate_files(files, predict, max_rows, recipe.trained_on_dev())

        with bar(task, "checkpoints") as progress:
            matrix = run(models, score, by, progress)
        if folder:
            write_matrix(folder, matrix)
    if as_json:
        json_line(matrix.to_json())
    else:
        answer(matrix.to_markdown())


def card(
    training: Annotated[str, typer.Option(help="one line on the training: time, machine, examples")],
    out: Annotated[Path | None, typer.Option(help="the file; by default MODEL_CARD.md beside the bundle")] = None,
    data: Data = DEFAULT_DATA,
    max_rows: MaxRows = None,
    run: Annotated[Path | None, typer.Option(help="the folder of the run, to show its losses on the card")] = None,
) -> None:
    """Evaluate the shipped model and write its card."""
    with train_errors():
        from worker.analysis.bundle import Bundle
        from worker.model.card import Facts, write_card
        from worker.model.licences import permitted
        from worker.model.loop import read_lines
        from worker.model.mentions import measured_targets, mention_table
        from worker.model.pictures import curves
        from worker.model.recipe import read_recipe

        bundle = Bundle.load(settings().bundle_dir)
        recipe = permitted(read_recipe(DEFAULT_RECIPE), bundle.manifest.licence)
        losses = curves(read_lines(run / "train.jsonl")) if run else b""
        command = f"polyvox model evaluate --data {data}" + (f" --max-rows {max_rows}" if max_rows else "")
        path = out or bundle.directory.parent / "MODEL_CARD.md"
        predict = _predictor(None, Engine.EMBEDDED)
        reports = list(_reports(list(Task), [data], predict, max_rows))
        mentions = mention_table(measured_targets(data / "sentiment" / "finances_es" / "es.dev.jsonl.xz"), predict)
        write_card(path, reports, recipe, Facts(bundle.model.version, command, training, max_rows, mentions, losses))
    answer(str(path))


def _reports(tasks: Sequence[Task], paths: Sequence[Path], predict: Predict, max_rows: int | None) -> Iterator[Report]:
    """Evaluate task by task, with a bar for each."""
    from worker.model.evaluate import evaluate_files
    from worker.model.files import evaluation_files
    from worker.model.recipe import read_recipe

    recipe = read_recipe(DEFAULT_RECIPE)
    for task in tasks:
        files = evaluation_files(task, paths or [DEFAULT_DATA], recipe)
        with bar(task, "files") as progress:
            yield evaluate_files(files, predict, max_rows, recipe.trained_on_dev(), progress)


def _predictor(checkpoint: Path | None, through: Engine) -> Predict:
    from worker.analysis.bundle import Bundle
    from worker.analysis.choice import make_inference
    from worker.model.predictors import checkpoint_predictor, inference_predictor

    if checkpoint is not None:
        return checkpoint_predictor(checkpoint)
    configured = settings().model_copy(update={"inference": through.value})
    bundle = Bundle.load(configured.bundle_dir)
    return inference_predictor(bundle, lambda: make_inference(configured, bundle))
