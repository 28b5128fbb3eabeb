"""The zero-shot matrix: checkpoints trained on one language or source each, tested on all."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

from worker.model import checkpoint
from worker.model.evaluate import MAIN_METRIC, Predict, Report
from worker.model.scores import mean
from worker.model.tables import table

By = Literal["language", "source"]
Progress = Callable[[int, int], None]


class TransferError(ValueError):
    """The checkpoints cannot be compared; the message says what to give."""


@dataclass(frozen=True)
class Matrix:
    """`scores[i][j]`: the task's main metric of the checkpoint `trained_on[i]` over the files of `tested_on[j]`.

    `rows[j]`: how many rows the first checkpoint answered there.
    """

    task: str
    metric: str
    by: By
    trained_on: tuple[str, ...]
    tested_on: tuple[str, ...]
    scores: tuple[tuple[float, ...], ...]
    rows: tuple[int, ...]

    def to_json(self) -> dict[str, object]:
        """The matrix as plain values, with the two means of `means`."""
        own, zero_shot = self.means()
        return asdict(self) | {"own_mean": own, "zero_shot_mean": zero_shot}

    def means(self) -> tuple[float | None, float | None]:
        """(mean where a checkpoint's name is the group's, mean of all others); None where there is no such cell."""
        cells = [
            (trained == tested, score)
            for trained, scores in zip(self.trained_on, self.scores, strict=True)
            for tested, score in zip(self.tested_on, scores, strict=True)
        ]
        own, others = ([score for same, score in cells if same is which] for which in (True, False))
        return (round(mean(own), 4) if own else None, round(mean(others), 4) if others else None)

    def to_markdown(self) -> str:
        """A row for each checkpoint; its own group, if it has one, is bold."""
        lines = [
            [trained, *(_cell(score, trained == tested) for tested, score in zip(self.tested_on, scores, strict=True))]
            for trained, scores in zip(self.trained_on, self.scores, strict=True)
        ]
        lines.append(["rows", *map(str, self.rows)])
        own, zero_shot = ("none" if value is None else f"{100 * value:.1f}" for value in self.means())
        head = ["trained on", *self.tested_on]
        return f"{table(head, lines)}\n\nMean {self.metric} on the own {self.by} {own}, on others {zero_shot}."


def _cell(score: float, own: bool) -> str:
    return f"**{100 * score:.1f}**" if own else f"{100 * score:.1f}"


def parse_checkpoints(named: Sequence[str]) -> dict[str, Path]:
    """Folders by name, from `name=folder` each.

    Raises:
        TransferError: none is given, one is of another form, a name is given twice, or a folder is no checkpoint.
    """
    found: dict[str, Path] = {}
    for each in named:
        name, equals, folder = each.partition("=")
        if not (name and equals and folder):
            raise TransferError(f"{each!r} is not name=folder, such as de=run-de/ckpt-latest")
        if name in found:
            raise TransferError(f"{name} is given twice; one checkpoint to a name")
        missing = [file for file in checkpoint.FILES if not (Path(folder) / file).is_file()]
        if missing:
            raise TransferError(f"{folder} is not a checkpoint: {', '.join(missing)} missing")
        found[name] = Path(folder)
    if not found:
        raise TransferError("no checkpoint is given; give name=folder, such as de=run-de/ckpt-latest")
    return found


def evaluate_transfer(
    models: Mapping[str, Callable[[], Predict]],
    score: Callable[[Predict], Report],
    by: By = "language",
    progress: Progress | None = None,
) -> Matrix:
    """Score each model on each language or source.

    Args:
        models: what opens each model, by the name of what it was trained on; one is open at a time.
        score: `evaluate_files` on the same files for every model.
        by: what a column is.
        progress: is told how many models are done, and of how many.
    """
    reports = []
    for done, opened in enumerate(models.values(), 1):
        reports.append(score(opened()))
        if progress:
            progress(done, len(models))
    columns = [getattr(report, f"per_{by}") for report in reports]
    tested_on = tuple(sorted(columns[0]))
    metric = MAIN_METRIC[reports[0].task]
    return Matrix(
        task=reports[0].task,
        metric=metric,
        by=by,
        trained_on=tuple(models),
        tested_on=tested_on,
        scores=tuple(tuple(float(column[group][metric]) for group in tested_on) for column in columns),
        rows=tuple(int(columns[0][group]["rows"]) for group in tested_on),
    )
