"""`polyvox entities`: what the alias table knows."""

from __future__ import annotations

from typing import Annotated

import typer

from worker.cli.console import Exit, examples, json_line, out, printable, say

commands = typer.Typer(
    no_args_is_help=True,
    help="The canonical entities behind surface forms.",
    epilog=examples('polyvox entities lookup "苹果公司"', "polyvox entities lookup $AAPL --json"),
)


def add_to(app: typer.Typer) -> None:
    """Register the commands."""
    app.add_typer(commands, name="entities")


@commands.command(
    epilog=examples(
        'polyvox entities lookup "苹果公司" Москва',
        "polyvox entities lookup '$AAPL' iso4217:EUR --json",
        after="A form may have an entity of each kind: Nice is a city and a company, and a mention's type decides. "
        "Exit codes: 0 fine, 1 a form is not in the table, 2 wrong usage.",
    )
)
def lookup(
    forms: Annotated[list[str], typer.Argument(help="surface forms, cashtags, tickers or ids")],
    as_json: Annotated[bool, typer.Option("--json", help="one JSON object a form")] = False,
) -> None:
    """Say which entities a surface form stands for."""
    from rich.table import Table

    from worker.entities.table import load_aliases

    aliases = load_aliases()
    table = Table("form", "id", "kind", "name", "source", box=None, pad_edge=False)
    missing = []
    for form in forms:
        found = aliases.look_up(form)
        if not found:
            missing.append(form)
        if as_json:
            json_line({"form": form, "entities": [alias._asdict() for alias in found]})
        for alias in found:
            table.add_row(printable(form, 40), *(printable(part, 48) for part in alias))
    if not as_json and table.row_count:
        out().print(table)
    for form in missing:
        say(f"polyvox: no entity is called {printable(form, 60)}", "yellow")
    raise typer.Exit(Exit.PROBLEM if missing else Exit.FINE)
