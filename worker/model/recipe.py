"""The training recipe: which sources, how much of each, and the optimiser's numbers."""

import tomllib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from worker.model.options import Options, OptionsError, build_options

TASKS = ("sentiment", "ner", "topic")


class RecipeError(ValueError):
    """A recipe that cannot be read; the message names the file and the field."""


@dataclass(frozen=True)
class Source:
    """One source of one task."""

    name: str
    weight: float  # against the other sources of the same language
    split: str = "train"  # "dev" where the source has no train split: 15 % of it is then held out
    two_class: bool = False  # no neutral label: the neutral logit is masked
    languages: tuple[str, ...] = ()  # empty: every language that the recipe knows


@dataclass(frozen=True)
class Task:
    """One head."""

    share: float  # of the examples
    loss_weight: float
    sources: tuple[Source, ...]


@dataclass(frozen=True)
class Optimiser:
    """AdamW with warm-up and linear decay over the fraction of the time budget."""

    encoder_lr: float
    heads_lr: float
    warm_up: float  # fraction of the budget
    weight_decay: float
    batch_size: int
    max_tokens: int  # longer texts are cut in training
    bf16: bool  # mixed precision, where the hardware has kernels for it


@dataclass(frozen=True)
class Wide:
    """The table beside the encoder, and how `polyvox model widen` learns it: Adam, the rate falling to 0."""

    rows: int
    examples: int
    batch_size: int
    learning_rate: float
    share: float  # of its logits, what is added to the encoder's


@dataclass(frozen=True)
class Recipe:
    """Everything that decides a run, except the time and the place."""

    base: str
    vocabulary: int
    seed: int
    optimiser: Optimiser
    languages: dict[str, float]  # priority of each language; others are not read
    sentiment: Task
    ner: Task
    topic: Task
    options: Options = field(default_factory=Options)
    wide: Wide | None = None

    def tasks(self) -> dict[str, Task]:
        """Task name -> its part."""
        return {name: getattr(self, name) for name in TASKS}

    def trained_on_dev(self) -> frozenset[tuple[str, str]]:
        """(task, source) pairs whose dev split is trained on: score their held-out rows only."""
        return frozenset(
            (name, source.name)
            for name, task in self.tasks().items()
            for source in task.sources
            if source.split == "dev"
        )


def read_recipe(path: Path) -> Recipe:
    """Read a recipe; RecipeError says what is wrong and where."""
    try:
        return build_recipe(tomllib.loads(path.read_text(encoding="utf-8")))
    except (OSError, tomllib.TOMLDecodeError, TypeError, KeyError, OptionsError) as error:
        raise RecipeError(f"{path}: {error}") from error


def build_recipe(raw: dict[str, Any]) -> Recipe:
    """A recipe from its parsed TOML; TypeError or OptionsError names a missing, unknown or impossible field."""
    tasks = {name: _build_task(raw[name]) for name in TASKS}
    options = build_options(raw.get("options", {}))
    wide = Wide(**raw["wide"]) if "wide" in raw else None
    return Recipe(**{**raw, **tasks, "optimiser": Optimiser(**raw["optimiser"]), "options": options, "wide": wide})


def _build_task(raw: dict[str, Any]) -> Task:
    sources = tuple(Source(**{**source, "languages": tuple(source.get("languages", ()))}) for source in raw["sources"])
    return Task(**{**raw, "sources": sources})
