"""`polyvox model`: placeholders are replaced as worker/model appears."""

import typer


def add_to(app: typer.Typer) -> None:
    """None yet"""
