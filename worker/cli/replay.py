"""`polyvox replay`: count days of the aggregates anew."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated

import typer

from worker.cli.configured import settings
from worker.cli.console import examples, json_line, out, say

if TYPE_CHECKING:
    from worker.replay.run import Replayed


def add_to(app: typer.Typer) -> None:
    """Register the command."""
    app.command(
        epilog=examples(
            "polyvox replay --from 2026-11-01 --to 2026-11-08",
            "polyvox replay --from 2026-11-01T12:00+01:00 --to 2026-11-02T00:00+01:00 --json | jq .partitions",
            after="Counts what enriched and dead-letters hold into a second generation, one partition after another, "
            "and swaps it in when it has all that the worker has counted; the worker may run meanwhile. Days are those "
            "of event time in UTC; a range is widened to whole ones. Runs no inference: languages, entities and "
            "stories are as they were published. A replay that was interrupted changed nothing in the partition that "
            "it was at; run it again. Exit codes: 0 all of it was rebuilt, 1 it was not and the message says why, 2 "
            "wrong usage or settings, or days that the logs or the aggregates no longer hold.",
        )
    )(replay)


def replay(
    begin: Annotated[str, typer.Option("--from", help="the first moment, as 2026-11-01 or RFC 3339; UTC by default")],
    end: Annotated[str, typer.Option("--to", help="the moment after the last one")],
    as_json: Annotated[bool, typer.Option("--json", help="one JSON object")] = False,
) -> None:
    """Rebuild the aggregates of some days from what was published."""
    from worker.cli.model.running import bar
    from worker.replay.plan import days_asked
    from worker.replay.run import replay as run
    from worker.timing import SystemClock

    clock = SystemClock()
    days = days_asked(_moment(begin), _moment(end), clock.unix_ms() / 1000)
    with bar("replay", "records") as progress:
        replayed = run(settings(), days, clock, progress)
    _show(replayed, as_json=as_json)


def _moment(text: str) -> datetime:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise typer.BadParameter(f"'{text}' is no date or time such as 2026-11-01 or 2026-11-01T12:00:00Z") from None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def _show(replayed: Replayed, *, as_json: bool) -> None:
    from dataclasses import asdict

    from rich.table import Table

    begin, end = (
        datetime.fromtimestamp(each, UTC).isoformat() for each in (replayed.days.start_s, replayed.days.end_s)
    )
    if as_json:
        json_line(asdict(replayed) | {"days": {"from": begin, "to": end}})
        return
    table = Table("partition", "outcomes", "totals", "rounds", box=None, pad_edge=False)
    for each in replayed.partitions:
        table.add_row(each.shard, str(each.outcomes), "rebuilt" if each.totals else "as before", str(each.rounds))
    out().print(table)
    say(f"rebuilt {begin} to {end} of {len(replayed.partitions)} partitions", "green")
    for shard in replayed.left_out:
        say(f"left as it is: {shard} is of no input topic of these settings, or has counted nothing", "yellow")
