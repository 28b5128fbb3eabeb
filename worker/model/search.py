"""`polyvox model fine-tune --search N`: short runs that try out the numbers that matter, chosen by optuna."""

import re
import shutil
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import optuna
from optuna.trial import Trial, TrialState

from worker.analysis.bundle import Licence
from worker.model.fine_tune import Run, prepare
from worker.model.licences import permitted
from worker.model.loop import Progress
from worker.model.recipe import Recipe, read_recipe
from worker.model.sampling import load_mixture
from worker.model.starting import check_licence
from worker.model.stopping import dev_scorer
from worker.model.topics import topics_of

BATCH_SIZES = (16, 32, 64)
SPREAD = 4.0  # learning rates are tried from a quarter of the recipe's to four times it
SECTIONS = {"encoder_lr": "optimiser", "heads_lr": "optimiser", "batch_size": "optimiser", "layer_decay": "options"}
Objective = Callable[[Recipe, Path], float]


def search(  # noqa: PLR0913, PLR0917 - those of fine_tune, and how many trials
    recipe_path: Path,
    data: Path,
    out: Path,
    budget_s: float,
    trials: int,
    start_from: Path | None = None,
    progress: Progress | None = None,
    licence: Licence = "any",
) -> Path:
    """Try `trials` settings for `budget_s` / `trials` seconds each; returns the best one's recipe.

    Below `out`: search.db (optuna's study, from which an interrupted search goes on), base/ or start/ (as for
    `fine_tune`), recipe.toml.

    Raises:
        EvaluationError: a task has no dev file below `data`.
    """
    recipe, topics = permitted(read_recipe(recipe_path), licence), topics_of(licence)
    score = dev_scorer(recipe, data, recipe.options.stop_rows)
    mixture = load_mixture(recipe, data, topics)
    prepare(recipe, data, out, start_from)
    check_licence(out, licence)

    def run_trial(tried: Recipe, folder: Path) -> float:
        Run.start(tried, topics, folder, budget_s / trials).train(mixture, time.monotonic)
        return score(folder / "ckpt-latest")

    best = explore(recipe, out, trials, run_trial, progress)
    fresh = out / "recipe.new"
    fresh.write_text(with_numbers(recipe_path.read_text(encoding="utf-8"), best), encoding="utf-8")
    fresh.rename(out / "recipe.toml")
    return out / "recipe.toml"


def explore(
    recipe: Recipe, out: Path, trials: int, objective: Objective, progress: Progress | None = None
) -> dict[str, Any]:
    """Run trials until `trials` are done in all; returns the numbers with the highest objective.

    The first tries the recipe's own numbers. One that was interrupted goes on in its folder, which is removed when its
    score is known: the numbers are the result.
    """
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(
        storage=f"sqlite:///{out / 'search.db'}", study_name="search", load_if_exists=True, direction="maximize"
    )
    _take_up(study, recipe)
    while (done := len(study.get_trials(states=[TrialState.COMPLETE]))) < trials:
        # A restarted sampler must not propose what its first numbers did.
        study.sampler = optuna.samplers.TPESampler(seed=recipe.seed + len(study.trials))
        trial = study.ask()
        folder = out / trial.user_attrs.get("folder", f"trial-{trial.number}")
        trial.set_user_attr("folder", folder.name)
        study.tell(trial, objective(with_suggestions(recipe, trial), _trial_folder(folder)))
        shutil.rmtree(folder)
        if progress:
            progress(done + 1, trials)
    return study.best_params


def _take_up(study: optuna.Study, recipe: Recipe) -> None:
    """Queue what was interrupted or, in a new study, the recipe's own numbers."""
    if not study.trials:
        study.enqueue_trial(_numbers_of(recipe))
    for trial in study.get_trials(states=[TrialState.RUNNING]):
        study.tell(trial.number, state=TrialState.FAIL)
        study.enqueue_trial(trial.params, user_attrs=trial.user_attrs)


def _trial_folder(folder: Path) -> Path:
    """The run folder of a trial, on the base or start of the search."""
    folder.mkdir(exist_ok=True)
    for name in ("base", "start"):
        if (folder.parent / name).is_dir() and not (folder / name).exists():
            (folder / name).symlink_to(Path("..") / name)
    return folder


def _numbers_of(recipe: Recipe) -> dict[str, Any]:
    return {name: getattr(getattr(recipe, section), name) for name, section in SECTIONS.items()}


def with_suggestions(recipe: Recipe, trial: Trial) -> Recipe:
    """The recipe with the numbers that the trial suggests."""
    own = recipe.optimiser
    rates: dict[str, Any] = {
        name: trial.suggest_float(name, getattr(own, name) / SPREAD, getattr(own, name) * SPREAD, log=True)
        for name in ("encoder_lr", "heads_lr")
    }
    sizes = sorted({*BATCH_SIZES, own.batch_size})
    optimiser = replace(own, **rates, batch_size=trial.suggest_categorical("batch_size", sizes))
    decay = trial.suggest_float("layer_decay", 0.7, 1.0)
    return replace(recipe, optimiser=optimiser, options=replace(recipe.options, layer_decay=decay))


def with_numbers(text: str, numbers: dict[str, Any]) -> str:
    """The recipe's TOML with these numbers in their sections, the rest as it is written."""
    for name, value in numbers.items():
        shown = f"{value:.3g}" if isinstance(value, float) else str(value)
        line, section = f"{name} = {shown}", f"[{SECTIONS[name]}]"
        if re.search(rf"^{name} *=", text, re.MULTILINE):
            text = re.sub(rf"^{name} *=[^#\n]*(?<! )", line, text, count=1, flags=re.MULTILINE)
        elif section in text:
            text = text.replace(section, f"{section}\n{line}", 1)
        else:
            text += f"\n{section}\n{line}\n"
    return text
