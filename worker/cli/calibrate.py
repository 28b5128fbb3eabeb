"""`polyvox calibrate`: how large the batches should be for this server."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from worker.cli.configured import settings
from worker.cli.console import err, examples, json_line, out, printable, run_async, say
from worker.errors import ConfigInvalid

if TYPE_CHECKING:
    from rich.table import Table

    from worker.analysis.batching_file import Figures
    from worker.settings import Settings
    from worker.tuning.run import Found

DEFAULT_OUT = Path("batching.json")
ROWS_SHOWN = 15
ROUNDS = 3


def add_to(app: typer.Typer) -> None:
    """Register the command."""
    app.command(
        epilog=examples(
            "polyvox calibrate",
            "polyvox calibrate --texts my-posts.jsonl --latency-ms 200 --out batching.json",
            "POLYVOX_BATCHING_FILE=batching.json polyvox run",
            "polyvox calibrate --json | jq .measured.figures",
            after="About speed, for a model and a server; `polyvox model calibrate` is about how sure the answers are. "
            "Sends posts to the inference server of the settings, in batches as a worker makes them, for some minutes; "
            "let nobody else use it meanwhile. What is written is the fastest way to batch within the bound, the "
            "smallest of equally fast ones. A worker reads the file that POLYVOX_BATCHING_FILE names at its start, and "
            "measures nothing. Exit codes: 0 it is written, 1 no way keeps the bound or the server is away, 2 wrong "
            "usage or settings.",
        )
    )(calibrate)


def calibrate(
    texts: Annotated[
        str | None, typer.Option(metavar="FILE", help="posts like those to come, as for produce; samples/ by default")
    ] = None,
    latency_ms: Annotated[
        float, typer.Option(min=1, help="the bound: 95 % of the batches must be answered within it")
    ] = 500.0,
    file: Annotated[
        Path | None,
        typer.Option("--out", metavar="FILE", help="what to write; POLYVOX_BATCHING_FILE, or batching.json here"),
    ] = None,
    run_s: Annotated[float, typer.Option("--run-s", min=0.01, help="seconds of one run, about")] = 2.0,
    as_json: Annotated[bool, typer.Option("--json", help="what is written, as one JSON object")] = False,
) -> None:
    """Measure which batch size suits the inference server, and write it to a file."""
    from worker.analysis import batching_file
    from worker.cli.model.running import bar
    from worker.timing import SystemClock
    from worker.tuning.measure import Effort
    from worker.tuning.run import Texts
    from worker.tuning.run import calibrate as run
    from worker.tuning.texts import texts_of

    configured = settings()
    path = file or configured.batching_file or DEFAULT_OUT
    if not path.parent.is_dir():
        raise ConfigInvalid(f"{path.parent} is no directory: make it, or name another file with --out")
    given, effort = Texts(texts or "samples", texts_of(texts)), Effort(run_s, ROUNDS, latency_ms)
    with bar("measuring", "runs") as progress:
        found = run_async(run(configured, given, effort, SystemClock(), progress))
    if not as_json:
        out().print(_table(found, configured))
    for way, why in found.refused.items():
        say(f"refused: batches of {way.posts} posts and {way.tokens} tokens: {printable(why, 200)}", "yellow")
    content = found.file()
    batching_file.write(path, content)
    if as_json:
        import msgspec

        json_line(msgspec.to_builtins(content))
    _say_what_follows(path, configured, found.chosen)


def _say_what_follows(path: Path, configured: Settings, chosen: Figures) -> None:
    """Where it is, how a worker gets it, and what would keep a worker from using it."""
    from worker.analysis.batching_file import NAMES

    say(
        f"{path}: {chosen.batch_posts} posts, {chosen.batch_tokens} tokens, {chosen.batches_in_flight} in flight, "
        f"{chosen.median_posts_per_s:.0f} posts/s",
        "green",
    )
    if configured.batching_file != path:
        err().print(f"workers read it with POLYVOX_BATCHING_FILE={path.resolve()}", markup=False)
    for name in NAMES:
        if name in configured.model_fields_set:
            say(f"POLYVOX_{name.upper()} is set here, and wins over the file where a worker has it too", "yellow")


def _table(found: Found, configured: Settings) -> Table:
    """The fastest ways within the bound, then others, with the reason why."""
    from rich.table import Table

    bound_ms = found.measured.latency_ms
    ranked = sorted(
        found.measured.figures, key=lambda each: (each.p95_ms > bound_ms, -each.median_posts_per_s, each.batch_posts)
    )
    table = Table(box=None, pad_edge=False, title=f"{found.measured.model_version} at {found.measured.server}")
    for name in ("posts", "tokens", "in flight", "posts/s min", "median", "max", "p95 ms", "padded/real", "runs"):
        table.add_column(name, justify="right")
    table.add_column("")
    for each in ranked[:ROWS_SHOWN]:
        sizes = (each.batch_posts, each.batch_tokens, each.batches_in_flight)
        rates = (each.min_posts_per_s, each.median_posts_per_s, each.max_posts_per_s, each.p95_ms)
        row = [*map(str, sizes), *(f"{rate:.0f}" for rate in rates), f"{each.padded_per_real:.2f}", str(each.runs)]
        table.add_row(*row, _note(each, found, configured))
    if len(ranked) > ROWS_SHOWN:
        table.caption = f"and {len(ranked) - ROWS_SHOWN} others, slower or later"
    return table


def _note(each: Figures, found: Found, configured: Settings) -> str:
    late = each.p95_ms > found.measured.latency_ms
    now = (each.batch_posts, each.batch_tokens, each.batches_in_flight) == (
        configured.batch_posts,
        configured.batch_tokens,
        configured.batches_in_flight,
    )
    chosen = not late and each == found.chosen
    said = {"too late": late, "chosen": chosen, "as the settings say": now}
    return ", ".join(name for name, holds in said.items() if holds)
