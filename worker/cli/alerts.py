"""`polyvox alerts list|show|undelivered|resend`."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer

from worker.cli.configured import settings
from worker.cli.console import Exit, examples, json_line, out, printable, run_async, say

if TYPE_CHECKING:
    from rich.table import Table

    from worker.alert_event import Alert
    from worker.alerts.store import AlertStore, Undelivered

Result = TypeVar("Result")
AsJson = Annotated[bool, typer.Option("--json", help="one JSON object a line")]
Newest = Annotated[int, typer.Option("--newest", "-n", min=1, help="how many, at most")]


def add_to(app: typer.Typer) -> None:
    """Register the commands."""
    group = typer.Typer(no_args_is_help=True, rich_markup_mode="rich", help="Shifts of sentiment that raised an alert.")
    group.command(
        "list",
        epilog=examples(
            "polyvox alerts list",
            "polyvox alerts list -n 100 --json | jq -r .key.language",
            after="Newest windows first.",
        ),
    )(show_all)
    group.command(
        "show",
        epilog=examples(
            "polyvox alerts show 0123abcd",
            "polyvox alerts show 0123abcd --json",
            after="The first characters of an id are enough. Exit codes: 0 found, 1 not.",
        ),
    )(show)
    group.command(
        "undelivered",
        epilog=examples(
            "polyvox alerts undelivered",
            after="What a webhook did not take, however often it was tried. Exit codes: 0 none, 1 there are some.",
        ),
    )(undelivered)
    group.command(
        "resend",
        epilog=examples(
            "polyvox alerts resend 0123456789abcdef0123456789abcdef",
            after="To the webhooks that did not take it; the worker sends it, with the same webhook-id. "
            "Exit codes: 0 it will be sent, 1 nothing of it is undelivered.",
        ),
    )(resend)
    app.add_typer(group, name="alerts")


def show_all(newest: Newest = 20, as_json: AsJson = False) -> None:
    """List alerts."""
    found = _ask(lambda store: store.history(newest))
    if as_json:
        for alert in found:
            json_line(alert_object(alert))
    elif found:
        out().print(_table(found))
    else:
        say("no alerts")


def show(
    alert_id: Annotated[str, typer.Argument(help="as listed, or its first characters", show_default=False)],
    as_json: AsJson = False,
) -> None:
    """Show one alert: index before and after, causes, words, examples."""
    from worker.cli.alert_page import page

    kept = settings().alert_history
    found = [alert for alert in _ask(lambda store: store.history(kept)) if alert.alert_id.startswith(alert_id)]
    if len(found) != 1:
        say(f"polyvox: {len(found) or 'no'} alerts begin with {printable(alert_id, 40)}", "yellow")
        raise typer.Exit(Exit.PROBLEM)
    if as_json:
        json_line(alert_object(found[0]))
    else:
        out().print(page(found[0]))


def undelivered(as_json: AsJson = False) -> None:
    """List deliveries to webhooks that were given up."""
    found = _ask(lambda store: store.undelivered())
    if as_json:
        for entry in found:
            json_line({name: getattr(entry, name) for name in entry.__struct_fields__})
    elif found:
        out().print(_undelivered_table(found))
    else:
        say("everything was delivered")
    raise typer.Exit(Exit.PROBLEM if found else Exit.FINE)


def resend(alert_id: Annotated[str, typer.Argument(help="as listed", show_default=False)]) -> None:
    """Let the worker try the webhooks again that did not take an alert."""
    count = _ask(lambda store: store.resend(alert_id))
    say(f"{count} deliveries are due again" if count else "polyvox: nothing of it is undelivered")
    raise typer.Exit(Exit.FINE if count else Exit.PROBLEM)


def alert_object(alert: Alert) -> dict[str, Any]:
    """An alert as plain values."""
    import msgspec

    found: dict[str, Any] = msgspec.to_builtins(alert)
    return found


def _ask(question: Callable[[AlertStore], Awaitable[Result]]) -> Result:
    """Ask the store of the settings."""
    from worker.alerts.redis_store import RedisAlertStore

    async def ask() -> Result:
        store = RedisAlertStore.of(settings())
        try:
            return await question(store)
        finally:
            await store.aclose()

    return run_async(ask())


def _table(alerts: Sequence[Alert]) -> Table:
    from rich.table import Table
    from rich.text import Text

    from worker.cli.alert_page import in_style

    table = Table(box=None, pad_edge=False)
    for name in ("alert", "window (UTC)", "key", "before", "after", "first cause"):
        table.add_column(name, no_wrap=name != "key")
    for alert in alerts:
        cause, value = alert.contributions.ranked()[0]
        table.add_row(
            alert.alert_id[:12],
            f"{alert.window_start.astimezone(UTC):%m-%d %H:%M}",
            Text(printable(alert.key.name, 48)),
            in_style(alert.before.value),
            in_style(alert.after.value),
            f"{cause.replace('_', ' ')} {value:+.2f}",
        )
    return table


def _undelivered_table(entries: Sequence[Undelivered]) -> Table:
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False)
    for name in ("alert id", "given up (UTC)", "channel", "attempts", "last error"):
        table.add_column(name)
    for entry in entries:
        at = datetime.fromtimestamp(entry.given_up_ms / 1000, UTC)
        row = (entry.alert_id, f"{at:%m-%d %H:%M:%S}", entry.channel, str(entry.attempts))
        table.add_row(*row, Text(printable(entry.error, 80)))
    return table
