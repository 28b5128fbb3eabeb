"""`polyvox verify`: whether the promises hold on what the logs still have."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from worker.cli.configured import settings
from worker.cli.console import Exit, examples, json_line, out, say

if TYPE_CHECKING:
    from rich.table import Table

    from worker.verify.report import InputRange, OutputRange, Report


def add_to(app: typer.Typer) -> None:
    """Register the command."""
    app.command(
        epilog=examples(
            "polyvox verify",
            "polyvox verify --json | jq .wrong",
            after="Checks that every committed record has an outcome, and that every exact counter is what the applied "
            "outcomes imply. Runs no inference and writes nothing; the worker may run meanwhile. Takes about 200 bytes "
            "of memory for each outcome in the logs. Exit codes: 0 all that was checked holds, 1 something is missing "
            "or wrong, or a server is away, 2 wrong usage or settings.",
        )
    )(verify)


def verify(as_json: Annotated[bool, typer.Option("--json", help="one JSON object")] = False) -> None:
    """Check that no record is missing and no counter wrong."""
    from worker.timing import SystemClock
    from worker.verify.report import NEVER_CHECKED
    from worker.verify.run import verify as run

    report = run(settings(), SystemClock())
    if as_json:
        json_line(asdict(report) | {"holds": report.holds, "never_checked": NEVER_CHECKED})
    else:
        _show(report)
        for line in report.unchecked:
            say(f"not checked: {line}", "yellow")
        for line in NEVER_CHECKED:
            say(f"never checked: {line}", "bright_black")
    raise typer.Exit(Exit.FINE if report.holds else Exit.PROBLEM)


def _show(report: Report) -> None:
    console = out()
    console.print(_inputs(report.inputs), _outputs(report.outputs))
    for finding in report.findings:
        line = f"{finding.kind}: {finding.where}: expected {finding.expected}, found {finding.found}"
        console.print(line, style="red", markup=False, soft_wrap=True)
    for repeat in report.repeats:
        line = f"differs by {repeat.difference}: {repeat.where}, event {repeat.event_id}"
        console.print(line, markup=False, soft_wrap=True)
    repeats = sum(report.repeated.values())
    differ = ", ".join(f"{count} by {name}" for name, count in report.repeated.items() if name != "none")
    console.print(f"{repeats} repeats" + (f", of which differ {differ}" if differ else ""))
    wrong = ", ".join(f"{count} {name}" for name, count in report.wrong.items())
    console.print(
        f"✗ {wrong}" if wrong else f"✓ {report.counters} counters are exact, no record without its outcome",
        style="red" if wrong else "green",
    )


def _inputs(ranges: Sequence[InputRange]) -> Table:
    from rich.table import Table

    table = Table("input", "log", "checked", "missing", "unknown", "not yet due", box=None, pad_edge=False)
    for each in ranges:
        due_to = each.begin if each.last is None else each.last + 1
        table.add_row(
            f"{each.topic}[{each.partition}]",
            _range(each.begin, each.end - 1),
            _range(each.first, each.last),
            str(each.missing),
            str(each.unknown),
            str(each.end - due_to),
        )
    return table


def _outputs(ranges: Sequence[OutputRange]) -> Table:
    from rich.table import Table

    table = Table("outcomes", "read", "applied up to", "foreign", box=None, pad_edge=False)
    for each in ranges:
        applied = "nothing" if each.applied_to is None else str(each.applied_to - 1)
        table.add_row(f"{each.topic}[{each.partition}]", _range(each.first, each.last), applied, str(each.foreign))
    return table


def _range(first: int | None, last: int | None) -> str:
    """Both offsets; a dash where there is no record."""
    return "-" if first is None or last is None or last < first else f"{first}-{last}"
