"""A run's figures as curves: TensorBoard always, Weights & Biases when the recipe names a project."""

import importlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any


class CurvesError(ValueError):
    """The recipe asks for a logger that cannot be used; the message says what to do."""


class Curves:
    """Writes below `folder`/tensorboard, and to the project `wandb` if it is not empty.

    Nothing is opened before the first figure, except that a missing wandb is an error at once.
    """

    def __init__(self, folder: Path, wandb: str = "") -> None:
        self._folder = folder
        self._board: Any = None
        self._run = _wandb_run(folder, wandb) if wandb else None

    def add(self, step: int, figures: Mapping[str, float]) -> None:
        """One point of each curve; a resumed run hides the points that it writes again."""
        if self._board is None:
            from torch.utils.tensorboard import SummaryWriter  # noqa: PLC0415 - two seconds that short runs do not need

            self._board = SummaryWriter(str(self._folder / "tensorboard"), purge_step=step)
        for name, value in figures.items():
            self._board.add_scalar(name, value, step)
        self._board.flush()
        if self._run is not None:
            self._run.log(dict(figures), step=step)

    def close(self) -> None:
        """Finish what was opened."""
        if self._board is not None:
            self._board.close()
        if self._run is not None:
            self._run.finish()


def _wandb_run(folder: Path, project: str) -> Any:
    """The folder's run at Weights & Biases, the same one when the folder is resumed."""
    try:
        wandb = importlib.import_module("wandb")
    except ImportError as error:
        raise CurvesError(
            f"options.wandb is {project!r}, but wandb is not installed: pip install wandb, or take the line out"
        ) from error
    note = folder / "wandb-run.json"
    known = json.loads(note.read_text())["id"] if note.is_file() else None
    run = wandb.init(project=project, name=folder.name, dir=str(folder), id=known, resume="allow")
    note.write_text(json.dumps({"id": run.id}) + "\n")
    return run
