"""Options that several commands of `polyvox model` share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

RECIPES = Path(__file__).parents[2] / "model" / "recipes"

RecipeFile = Annotated[Path, typer.Option("--recipe", help="which sources, how much of each, and how to train")]
Data = Annotated[Path, typer.Option("--data", help="the data directory; its README describes it")]
MaxRows = Annotated[int | None, typer.Option(min=1, help="at most so many rows of each file, a fixed sample")]
DEFAULT_RECIPE = RECIPES / "analyzer.toml"
DEFAULT_DATA = Path("../shared/data")
