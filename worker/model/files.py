"""Which labelled files an evaluation reads."""

from collections.abc import Iterable, Sequence
from pathlib import Path

from worker.model.data import DataFile
from worker.model.evaluate import EvaluationError
from worker.model.recipe import Recipe
from worker.model.trusted_rows import trusted

SUFFIXES = (".jsonl", ".jsonl.xz")
MEASURED = ("dev", "test")


def evaluation_files(task: str, paths: Sequence[Path], recipe: Recipe) -> list[DataFile]:
    """The files that `paths` stand for, in order and once each.

    A file stands for itself. A folder that has a folder of the task's name is a data directory, and stands for the dev
    files of the recipe's sources in the recipe's languages, of which it takes the rows that can be trusted; any other
    folder for the dev and test files in it.

    Raises:
        EvaluationError: a path stands for no file.
    """
    found: dict[Path, DataFile] = {}
    for path in paths:
        files = list(_files(task, path, recipe))
        if not files:
            raise EvaluationError(
                f"{path}: no labelled file for {task}; give files named <source>/<language>.<split>.jsonl.xz, "
                "a folder of them, or the data directory"
            )
        found |= {each.path: each for each in files}
    return list(found.values())


def _files(task: str, path: Path, recipe: Recipe) -> Iterable[DataFile]:
    if path.is_file():
        return [DataFile(path, task)] if path.name.endswith(SUFFIXES) else []
    if (path / task).is_dir():
        return _dev_files(task, path, recipe)
    files = (DataFile(each, task) for each in sorted(path.rglob("*.jsonl*")) if each.name.endswith(SUFFIXES))
    return [file for file in files if file.split in MEASURED]


def _dev_files(task: str, data: Path, recipe: Recipe) -> Iterable[DataFile]:
    for source in recipe.tasks()[task].sources:
        for path in sorted((data / task / source.name).glob("*.dev.jsonl*")):
            if path.name.split(".")[0] in (source.languages or recipe.languages):
                yield trusted(DataFile(path, task))
