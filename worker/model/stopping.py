"""Early stopping: a sample of the dev files is scored now and then, and the best checkpoint kept."""

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from worker.model.evaluate import MAIN_METRIC, evaluate_files
from worker.model.files import evaluation_files
from worker.model.predictors import checkpoint_predictor
from worker.model.recipe import TASKS, Recipe
from worker.model.replacing import replaced
from worker.model.scores import mean

Score = Callable[[Path], float]


def dev_scorer(recipe: Recipe, data: Path, max_rows: int) -> Score:
    """A function from a checkpoint folder to its mean dev score, 0 to 1.

    The mean over the three tasks of what `polyvox model evaluate` calls each one's main metric, on at most `max_rows`
    rows of each dev file of the recipe's sources.

    Raises:
        EvaluationError: a task has no dev file below `data`.
    """
    files = {task: evaluation_files(task, [data], recipe) for task in TASKS}

    def score(folder: Path) -> float:
        predict = checkpoint_predictor(folder)
        reports = [evaluate_files(found, predict, max_rows, recipe.trained_on_dev()) for found in files.values()]
        return mean([float(report.metrics[MAIN_METRIC[report.task]]) for report in reports])

    return score


@dataclass
class EarlyStop:
    """Looks at the score of `out`/ckpt-latest every `every_s` of the run, and keeps the best one as `out`/ckpt-best."""

    out: Path
    score: Score
    every_s: float
    patience: int  # looks without a better score that end the run
    looks: int = 0
    best: float = -1.0
    fruitless: int = 0  # looks since the best

    def due(self, elapsed_s: float) -> bool:
        """Whether the time for the next look has come."""
        return elapsed_s >= (self.looks + 1) * self.every_s

    @property
    def over(self) -> bool:
        """Whether patience has run out."""
        return self.fruitless >= self.patience

    def look(self, elapsed_s: float) -> float:
        """Score ckpt-latest; returns the score. Looks missed meanwhile (a slow one before) are not made up for."""
        found = self.score(self.out / "ckpt-latest")
        self.looks = max(self.looks + 1, int(elapsed_s // self.every_s))
        self.fruitless += 1
        if found > self.best:
            self.best, self.fruitless = found, 0
            with replaced(self.out / "ckpt-best") as fresh:
                shutil.copytree(self.out / "ckpt-latest", fresh, dirs_exist_ok=True)
        return found

    def state_dict(self) -> dict[str, float]:
        """What `load_state_dict` takes."""
        return {"looks": self.looks, "best": self.best, "fruitless": self.fruitless}

    def load_state_dict(self, state: dict[str, float]) -> None:
        """Take up where the saved run stood."""
        self.looks, self.best, self.fruitless = int(state["looks"]), state["best"], int(state["fruitless"])
