"""The recipe of a pre-training: which raw text, how much of each, and the numbers of the two tasks."""

import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from worker.model.recipe import Optimiser, RecipeError


@dataclass(frozen=True)
class RawSource:
    """A folder below raw/."""

    name: str
    weight: float  # against the other sources of the same language
    ordered: bool = False  # a line goes on where the one before it ended: gives sentence pairs


@dataclass(frozen=True)
class PretrainRecipe:
    """Everything that decides a pre-training, except the time and the place."""

    base: str
    vocabulary: int
    seed: int
    mask_share: float  # of a text's pieces
    pair_share: float  # of the draws from ordered sources; half of these pairs follow on each other
    temperature: float  # a language is drawn by its lines to this power: 1 as they come, 0 all alike
    max_lines: int  # of one file
    optimiser: Optimiser
    languages: tuple[str, ...]
    sources: tuple[RawSource, ...]

    def __post_init__(self) -> None:
        for name in ("mask_share", "pair_share", "temperature"):
            if not 0 <= getattr(self, name) <= 1:
                raise RecipeError(f"{name} is {getattr(self, name)}, expected 0 to 1")
        if not self.mask_share:
            raise RecipeError("mask_share is 0: nothing would be learned from a text")


def read_recipe(path: Path) -> PretrainRecipe:
    """Read a recipe; RecipeError says what is wrong and where."""
    try:
        return build_recipe(tomllib.loads(path.read_text(encoding="utf-8")))
    except (OSError, tomllib.TOMLDecodeError, TypeError, KeyError, RecipeError) as error:
        raise RecipeError(f"{path}: {error}") from error


def build_recipe(raw: dict[str, Any]) -> PretrainRecipe:
    """A recipe from its parsed TOML; TypeError or RecipeError names a missing, unknown or impossible field."""
    sources = tuple(RawSource(**source) for source in raw["sources"])
    parts = {"optimiser": Optimiser(**raw["optimiser"]), "languages": tuple(raw["languages"]), "sources": sources}
    return PretrainRecipe(**{**raw, **parts})
