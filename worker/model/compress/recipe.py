"""The numbers of a compression."""

import tomllib
from dataclasses import dataclass
from pathlib import Path

from worker.model.recipe import Optimiser, RecipeError


@dataclass(frozen=True)
class CompressRecipe:
    """How a smaller network learns from the full one, and on what."""

    texts: str  # file of a fine-tuning recipe, beside this one: its labelled texts, by its shares
    seed: int
    temperature: float  # of the softened answers (Hinton et al. 2015)
    hidden_weight: float  # of the distance of hidden states, against that of the answers
    importance_batches: int  # from which the heads' importance is taken
    optimiser: Optimiser


def read_recipe(path: Path) -> CompressRecipe:
    """Read a recipe; RecipeError says what is wrong and where."""
    try:
        raw = tomllib.loads(path.read_text(encoding="utf-8"))
        return CompressRecipe(**{**raw, "optimiser": Optimiser(**raw["optimiser"])})
    except (OSError, tomllib.TOMLDecodeError, TypeError, KeyError) as error:
        raise RecipeError(f"{path}: {error}") from error
