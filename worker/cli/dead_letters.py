"""`polyvox dead-letters list|requeue`."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated

import typer

from worker.cli.configured import settings
from worker.cli.console import Exit, examples, json_line, out, printable, run_async, say

if TYPE_CHECKING:
    from rich.table import Table

    from worker.errors import PolyvoxError
    from worker.events import SourcePosition
    from worker.feeds.dead_letters import Letter, Resolved
    from worker.settings import Settings

Reason = Annotated[str | None, typer.Option(help="only those with this reason, such as not_json")]
Stage = Annotated[str | None, typer.Option(help="only those of this stage: decode, validate, tokenize, infer, encode")]


def add_to(app: typer.Typer) -> None:
    """Register the commands."""
    group = typer.Typer(
        no_args_is_help=True, rich_markup_mode="rich", help="Records that could not be analysed, and why."
    )
    group.command(
        "list",
        epilog=examples(
            "polyvox dead-letters list",
            "polyvox dead-letters list --reason text_too_long -n 100",
            "polyvox dead-letters list --all --json | jq -r .reason | sort | uniq -c",
            after="Newest first. Those that were analysed since, after a requeue, are hidden unless --all is given.",
        ),
    )(show)
    group.command(
        "requeue",
        epilog=examples(
            "polyvox dead-letters requeue 0123456789abcdef0123456789abcdef",
            "polyvox dead-letters requeue --reason rejected",
            "polyvox dead-letters requeue --all --yes",
            after="Sends the original bytes to their own topic and partition again. The outcome keeps the event id: "
            "whatever is requeued twice is counted once. Exit codes: 0 all were sent, 1 some were not, 2 wrong usage.",
        ),
    )(requeue)
    app.add_typer(group, name="dead-letters")


def show(
    newest: Annotated[int, typer.Option("--newest", "-n", min=1, help="how many, at most")] = 20,
    reason: Reason = None,
    stage: Stage = None,
    every: Annotated[bool, typer.Option("--all", help="also those that were analysed since")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="one JSON object a line")] = False,
) -> None:
    """List dead letters."""
    from worker.cli.records import letter_object
    from worker.feeds.dead_letters import Filter, list_letters

    configured = settings()
    letters = list_letters(configured, Filter(reason, stage, resolved=every), newest, _resolved(configured))
    if as_json:
        for letter in letters:
            json_line(letter_object(letter.why, letter.value) | {"resolved": letter.resolved})
    elif letters:
        out().print(_table(letters))
    else:
        say("no dead letters")


def _table(letters: Sequence[Letter]) -> Table:
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False)
    for name in ("event id", "since (UTC)", "where", "reason", "bytes"):
        table.add_column(name, no_wrap=True)
    table.add_column("detail", overflow="fold")
    for letter in letters:
        why = letter.why
        since = datetime.fromtimestamp(letter.written_ms / 1000, UTC)
        style = "green" if letter.resolved else "red"
        table.add_row(
            why.event_id,
            f"{since:%m-%d %H:%M:%S}",
            f"{why.position.topic}/{why.position.partition}@{why.position.offset}",
            Text(f"{why.stage}: {why.reason}" + (" (resolved)" if letter.resolved else ""), style),
            str(why.size_bytes),
            Text(printable(why.detail, 60)),
        )
    return table


def requeue(
    event_ids: Annotated[list[str] | None, typer.Argument(help="event ids, as listed", show_default=False)] = None,
    reason: Reason = None,
    stage: Stage = None,
    every: Annotated[bool, typer.Option("--all", help="every dead letter that was not analysed since")] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="do not ask")] = False,
) -> None:
    """Send the original records of dead letters through the worker again."""
    from worker.feeds import dead_letters as feeds

    if not (event_ids or reason or stage or every):
        raise typer.BadParameter("name event ids, --reason, --stage or --all")
    configured = settings()
    wanted = feeds.Filter(reason, stage, frozenset(event_ids) if event_ids else None)
    letters = feeds.list_letters(configured, wanted, len(event_ids) if event_ids else None, _resolved(configured))
    missing = set(event_ids or ()) - {letter.why.event_id for letter in letters}
    for event_id in sorted(missing):
        say(f"polyvox: {event_id}: no such dead letter, or it was analysed since", "yellow")
    if letters:
        _confirm(len(letters), yes)
    failed: list[Letter] = []

    def report(letter: Letter, error: PolyvoxError) -> None:
        failed.append(letter)
        say(f"polyvox: {error}", "yellow")

    sent = feeds.requeue(configured, letters, report) if letters else 0
    say(f"{sent} requeued, {len(failed)} not")
    raise typer.Exit(Exit.PROBLEM if failed or missing else Exit.FINE)


def _confirm(count: int, yes: bool) -> None:
    """Ask before records are sent; without a terminal only --yes will do."""
    if yes:
        return
    if not sys.stdin.isatty():
        raise typer.BadParameter("standard input is no terminal to ask on: add --yes")
    typer.confirm(f"Requeue {count} dead letter{'s' if count > 1 else ''}?", abort=True, err=True)


def _resolved(configured: Settings) -> Resolved:
    """Ask the aggregates which records were analysed since; without Redis none counts as resolved, which is safe."""
    from worker.errors import StoreUnavailable
    from worker.opinion.store import AggregateStore

    async def ask(positions: Sequence[SourcePosition]) -> list[bool]:
        store = AggregateStore.of(configured)
        try:
            return await store.resolved(positions)
        finally:
            await store.aclose()

    def resolved(positions: Sequence[SourcePosition]) -> list[bool]:
        try:
            return run_async(ask(positions))
        except StoreUnavailable as error:
            say(f"polyvox: which were analysed since is not known: {error}", "yellow")
            return [False] * len(positions)

    return resolved
