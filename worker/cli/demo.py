"""`polyvox demo`."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from worker.cli.console import err, examples, json_line, out, stopped_in_order

if TYPE_CHECKING:
    from worker.local.demo import Tick

PLAIN_EVERY_S = 5.0
"""How often the replay's state is printed where there is no terminal to draw a bar on."""


def add_to(app: typer.Typer) -> None:
    """Register the command."""
    app.command(
        epilog=examples(
            "polyvox demo",
            "polyvox demo | tail -1 | jq .latency_ms",
            after="Starts Kafka, Redis and Triton from Python packages on free loopback ports, replays samples/ "
            "through a worker, and stops everything, also after Ctrl-C. The last line is the summary as one JSON "
            "object. Exit codes: 0 every record has an outcome, 1 something failed, 2 this machine lacks something, "
            "130 Ctrl-C.",
        )
    )(demo)


def demo(
    samples: Annotated[Path | None, typer.Option(help="a directory with other samples")] = None,
    models: Annotated[Path | None, typer.Option(help="another Triton model repository")] = None,
) -> None:
    """Run everything on this machine, on real text, and end with a summary."""
    from worker.cli.report import show
    from worker.local.demo import DemoOptions, Listener, run_demo

    options = DemoOptions()
    if samples is not None:
        options = replace(options, samples=samples)
    if models is not None:
        options = replace(options, stack=replace(options.stack, models_dir=models))
    with stopped_in_order(), _progress() as (step, tick):
        report = run_demo(options, Listener(step, tick))
    show(report, out())
    json_line(report.summary())


@contextmanager
def _progress() -> Iterator[tuple[Callable[[str], None], Callable[[Tick], None]]]:
    """Steps as lines and the replay as a bar on a terminal; plain lines elsewhere. All on standard error."""
    console = err()
    if not console.is_terminal:
        yield _plain_step, _plain_ticks()
        return
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (TextColumn("replay"), BarColumn(), TextColumn("{task.fields[said]}"), TimeElapsedColumn())
    with Progress(*columns, console=console, transient=True) as bar:
        task = bar.add_task("replay", total=None, said="", visible=False)

        def tick(state: Tick) -> None:
            done = state.analysed + state.dead_lettered
            bar.update(task, total=state.total, completed=done, said=in_words(state), visible=True)

        yield lambda line: bar.console.print(line, style="bright_black", markup=False), tick


def in_words(state: Tick) -> str:
    """Produced, analysed, dead-lettered and the rate so far."""
    done = state.analysed + state.dead_lettered
    rate = done / state.seconds if state.seconds > 0 else 0.0
    return (
        f"{state.sent} of {state.total} produced, {state.analysed} analysed, {state.dead_lettered} dead-lettered, "
        f"{rate:.0f}/s"
    )


def _plain_step(line: str) -> None:
    err().print(line, markup=False)


def _plain_ticks() -> Callable[[Tick], None]:
    shown_s = 0.0

    def tick(state: Tick) -> None:
        nonlocal shown_s
        if state.seconds - shown_s >= PLAIN_EVERY_S:
            shown_s = state.seconds
            _plain_step(f"replay: {in_words(state)}")

    return tick
