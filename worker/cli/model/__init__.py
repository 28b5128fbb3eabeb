"""`polyvox model`: from a base encoder to the bundle that is served. Needs the extra `train`."""

from __future__ import annotations

import typer

from worker.cli.model import bundle, compress, explain, measure, train


def add_to(app: typer.Typer) -> None:
    """Register the commands."""
    group = typer.Typer(no_args_is_help=True, rich_markup_mode="rich", help="Make, measure and export the model.")
    for commands in (train, measure, compress, explain, bundle):
        commands.add_to(group)
    app.add_typer(group, name="model")
