"""`polyvox model`: which files are measured, and what is said when something is missing."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest
from typer.testing import CliRunner

from worker.cli import app
from worker.cli.model import DEFAULT_RECIPE, Task, dev_files
from worker.errors import ConfigInvalid
from worker.model.recipe import read_recipe

runner = CliRunner()
WITHOUT_TORCH = importlib.util.find_spec("torch") is None


def test_dev_files_are_those_of_the_recipe(tmp_path: Path) -> None:
    """Its sources, its languages, the dev split; nothing else that lies beside them."""
    recipe = read_recipe(DEFAULT_RECIPE)
    source = recipe.sentiment.sources[0]
    language = (source.languages or tuple(recipe.languages))[0]
    folder = tmp_path / "sentiment" / source.name
    folder.mkdir(parents=True)
    for name in (f"{language}.dev", f"{language}.train", "tlh.dev"):
        (folder / f"{name}.jsonl.xz").touch()
    (tmp_path / "sentiment" / "other").mkdir()
    (tmp_path / "sentiment" / "other" / f"{language}.dev.jsonl.xz").touch()
    assert dev_files(tmp_path, Task.SENTIMENT, recipe) == [folder / f"{language}.dev.jsonl.xz"]
    with pytest.raises(ConfigInvalid, match="--data"):
        dev_files(tmp_path, Task.TOPIC, recipe)


@pytest.mark.skipif(not WITHOUT_TORCH, reason="the extra `train` is installed")
@pytest.mark.parametrize("arguments", [["evaluate"], ["export", "x", "--version", "1"], ["fine-tune", "--out", "x"]])
def test_a_missing_extra_is_one_clear_line(arguments: list[str]) -> None:
    """With what to install; it counts as wrong usage."""
    ended = runner.invoke(app, ["model", *arguments])
    assert (ended.exit_code, ended.stdout) == (2, "")
    assert "pip install 'polyvox[train]'" in ended.stderr
    assert len(ended.stderr.strip().splitlines()) == 1


def test_an_unknown_task_is_wrong_usage() -> None:
    """The known ones are named."""
    ended = runner.invoke(app, ["model", "evaluate", "poetry"])
    assert ended.exit_code == 2
    assert "sentiment" in ended.stderr
