"""`polyvox model compress`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from worker.cli.console import answer, examples, json_line, out
from worker.cli.model.options import DEFAULT_DATA, RECIPES, Data
from worker.cli.model.running import bar, train_errors

if TYPE_CHECKING:
    from collections.abc import Sequence

    from worker.model.compress.costs import Cost

COMPRESS_RECIPE = RECIPES / "compress.toml"


def add_to(group: typer.Typer) -> None:
    """Register the command."""
    group.command(
        "compress",
        epilog=examples(
            "polyvox model compress run/ckpt-latest --out small --layers 6 --hours 1",
            "polyvox model compress run/ckpt-latest --out small --layers 1,3,5,7,9,11 --heads 0.25 --vocabulary 60000",
            "polyvox model compress triton_models/analyzer/1 --out same --json     # only what 4 bits and int8 cost",
            "polyvox model export small/compressed --version 2.0.0",
            after="The steps: vocabulary, layers, heads; the last two learn from the full network. The same command "
            "goes on where it was interrupted. int8 and 4-bit embeddings are made by export, and measured here.",
        ),
    )(compress)


def compress(  # noqa: PLR0913, PLR0917 - a command's options
    checkpoint: Annotated[Path, typer.Argument(help="a fine-tuned folder or a served bundle")],
    folder: Annotated[Path, typer.Option("--out", help="the folder of the run; one that exists is resumed")],
    vocabulary: Annotated[
        int | None, typer.Option(min=1, help="trim to so many pieces of the served languages")
    ] = None,
    layers: Annotated[
        str | None, typer.Option(help="keep so many layers, evenly spread, or these: numbers from 0 with commas")
    ] = None,
    heads: Annotated[
        float | None, typer.Option(min=0.0, max=0.95, help="prune this share of the attention heads")
    ] = None,
    hours: Annotated[float, typer.Option(min=0.0005, help="of distillation, shared by --layers and --heads")] = 1.0,
    recipe: Annotated[Path, typer.Option("--recipe", help="how the smaller network learns")] = COMPRESS_RECIPE,
    data: Data = DEFAULT_DATA,
    max_rows: Annotated[int, typer.Option(min=1, help="measure at most so many rows of each dev file")] = 20,
    as_json: Annotated[bool, typer.Option("--json", help="one JSON object for each step")] = False,
) -> None:
    """Make a network smaller step by step, and print what each step costs and gives."""
    with train_errors():
        from worker.model.compress.costs import measure_costs
        from worker.model.compress.recipe import read_recipe
        from worker.model.compress.run import RESULT, Compression, Plan, parse_layers
        from worker.model.recipe import read_recipe as read_texts

        numbers = read_recipe(recipe)
        texts = read_texts(recipe.parent / numbers.texts)
        plan = Plan(vocabulary, parse_layers(layers) if layers else None, heads, hours * 3600)
        with bar("learning", "s") as progress:
            stages = Compression(plan, folder, numbers, texts, data).run(checkpoint, progress)
        with bar("measuring", "steps") as progress:
            costs = list(measure_costs(stages, data, texts, max_rows, progress))
    if as_json:
        for cost in costs:
            json_line(cost.to_json())
    else:
        _show(costs)
        answer(str(folder / RESULT))


def _show(costs: Sequence[Cost]) -> None:
    """A row for each step; shares in hundredths."""
    from rich.table import Table

    table = Table("step", "file")
    for name in ("sentiment F1", "topic accuracy", "entity F1", "MB", "posts/s"):
        table.add_column(name, justify="right")
    for cost in costs:
        shares = (f"{100 * share:.1f}" for share in (cost.sentiment, cost.topic, cost.ner))
        table.add_row(cost.step, cost.precision, *shares, f"{cost.size_bytes / 1e6:.1f}", f"{cost.posts_per_s:.0f}")
    out().print(table)
