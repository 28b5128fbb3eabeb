"""`polyvox model`: a run's weights become the bundle that is served, and are calibrated."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from worker.cli.configured import settings
from worker.cli.console import answer, examples, say
from worker.cli.model.options import DEFAULT_DATA, DEFAULT_RECIPE, Data, MaxRows
from worker.cli.model.running import bar, train_errors


def add_to(group: typer.Typer) -> None:
    """Register the commands."""
    group.command(
        "blend",
        epilog=examples(
            "polyvox model blend run --share 0.6 --out run/blended",
            "polyvox model blend one other --share 0.8 --out both",
            after="Of runs with --start-from: keeps what the start knew and the runs did not repeat.",
        ),
    )(blend)
    group.command(
        "widen",
        epilog=examples(
            "polyvox model widen run/ckpt-latest --out run/widened",
            after="The last step before an export: a run that goes on from the result leaves the table out.",
        ),
    )(widen)
    group.command(
        "export",
        epilog=examples(
            "polyvox model export run/ckpt-latest --version 1.1.0",
            "polyvox model export triton_models/analyzer/1 --version 1.3.0 --precision float16 --out gpu/analyzer/1",
            after="The bundle is replaced whole or not at all, and only when it answers as the checkpoint does.",
        ),
    )(export)
    group.command(
        "calibrate",
        epilog=examples(
            "polyvox model calibrate",
            after="Right after an export: what the worker says of its certainty is part of a version. About how sure "
            "answers are; `polyvox calibrate` is about how fast they come.",
        ),
    )(calibrate)


def blend(
    runs: Annotated[list[Path], typer.Argument(help="folders of runs that started from one checkpoint or bundle")],
    out: Annotated[Path, typer.Option(help="the checkpoint to write")],
    share: Annotated[
        float, typer.Option(min=0.0, max=1.0, help="0 is the runs' start, 1 the mean of their ends")
    ] = 0.6,
) -> None:
    """Write the weights that lie between the start and the end of a run, or the mean end of several."""
    with train_errors():
        from worker.model.blend import blend as made

        answer(str(made(runs, share, out)))


def widen(
    checkpoint: Annotated[Path, typer.Argument(help="a fine-tuned folder, or an int8 bundle")],
    out: Annotated[Path, typer.Option(help="the checkpoint to write")],
    recipe: Annotated[Path, typer.Option(help="which texts to learn from, and its [wide]")] = DEFAULT_RECIPE,
    data: Data = DEFAULT_DATA,
) -> None:
    """Learn a table of pieces and pairs of pieces that adds to what the network says of topics."""
    with train_errors():
        from worker.model.widen import widen as made

        with bar("learning", "steps") as progress:
            answer(str(made(checkpoint, recipe, data, out, progress)))


def export(
    checkpoint: Annotated[Path, typer.Argument(help="a fine-tuned folder, or an int8 bundle")],
    version: Annotated[str, typer.Option(help="semantic version of the weights")],
    out: Annotated[Path | None, typer.Option(help="a version directory; by default that of the shipped model")] = None,
    precision: Annotated[
        Literal["int8", "int4-embeddings", "float16", "float32"],
        typer.Option(help="int8 for CPUs, float16 for GPUs; int4-embeddings is float32 but for these"),
    ] = "int8",
) -> None:
    """Write a checkpoint as the bundle that Triton and the worker load."""
    with train_errors():
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
    with train_errors():
        from dataclasses import replace

        from msgspec.structs import replace as with_fields

        from worker.analysis.bundle import Bundle
        from worker.analysis.calibration import UNCALIBRATED
        from worker.analysis.choice import make_inference
        from worker.model import calibrate as run
        from worker.model import span_certainty
        from worker.model.files import evaluation_files
        from worker.model.predictors import inference_predictor, span_predictor
        from worker.model.recipe import read_recipe

        configured = settings().model_copy(update={"inference": "embedded"})
        bundle = replace(Bundle.load(configured.bundle_dir), calibration=UNCALIBRATED)
        recipe, connect = read_recipe(DEFAULT_RECIPE), lambda: make_inference(configured, bundle)
        files = {head: evaluation_files(head, [data], recipe) for head in (*run.HEADS, "ner")}
        seen = recipe.trained_on_dev()
        with bar("calibrating", "files") as progress:
            found = run.fit(files, inference_predictor(bundle, connect), max_rows, seen, progress)
        with bar("calibrating mentions", "files") as progress:
            marked = span_certainty.mark_files(files["ner"], span_predictor(bundle, connect), max_rows, seen, progress)
        tags = span_certainty.tag_temperatures(marked)
        run.save(bundle.directory, with_fields(found, tags=tags))
    answer(str(bundle.directory / "calibration.json"))
