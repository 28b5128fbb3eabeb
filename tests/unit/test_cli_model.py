"""`polyvox model`: which files are measured, and what is said when something is missing."""

from __future__ import annotations

import importlib.util

import pytest
from typer.testing import CliRunner

from worker.cli import app

runner = CliRunner()
WITHOUT_TORCH = importlib.util.find_spec("torch") is None


@pytest.mark.skipif(not WITHOUT_TORCH, reason="the extra `train` is installed")
@pytest.mark.parametrize(
    "arguments",
    [
        ["evaluate"],
        ["export", "x", "--version", "1"],
        ["fine-tune", "--out", "x"],
        ["pretrain", "--out", "x"],
        ["compress", "x", "--out", "y"],
    ],
)
def test_a_missing_extra_is_one_clear_line(arguments: list[str]) -> None:
    """With what to install; it counts as wrong usage."""
    ended = runner.invoke(app, ["model", *arguments])
    assert (ended.exit_code, ended.stdout) == (2, "")
    assert "pip install 'polyvox[train]'" in ended.stderr
    assert len(ended.stderr.strip().splitlines()) == 1


def test_an_unknown_task_is_wrong_usage() -> None:
    """The known ones are named."""
    ended = runner.invoke(app, ["model", "evaluate", "--task", "poetry"])
    assert ended.exit_code == 2
    assert "sentiment" in ended.stderr
