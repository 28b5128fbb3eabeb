"""Files and folders that are replaced as a whole: a reader sees the old one or the new one, never half of it."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch


@contextmanager
def replaced(folder: Path) -> Iterator[Path]:
    """An empty folder beside `folder` to fill; it takes the place of `folder` at the end, unless an error came."""
    fresh, old = folder.with_name(folder.name + ".new"), folder.with_name(folder.name + ".old")
    for left_over in (fresh, old):
        shutil.rmtree(left_over, ignore_errors=True)
    fresh.mkdir(parents=True)
    yield fresh
    if folder.exists():
        folder.rename(old)
    fresh.rename(folder)
    shutil.rmtree(old, ignore_errors=True)


def save_state(file: Path, state: dict[str, Any]) -> None:
    """Write what a run resumes from."""
    fresh = file.with_name(file.name + ".new")
    torch.save(state, fresh)
    fresh.rename(file)
