"""The worker as it was: what a rolling upgrade begins with."""

from __future__ import annotations

import io
import subprocess
import tarfile
from pathlib import Path

from worker.settings import REPOSITORY

REPORT = "docs/fault-report.md"


def older_worker(directory: Path) -> tuple[Path, str]:
    """The worker that the last fault report is of, in a folder below `directory`, and its revision.

    This checkout and "" where the history does not reach back to another one, as in an archive of the sources.
    """
    found = _git("log", "-1", "--format=%H", "--", REPORT).decode().strip()
    if not found or not _git("diff", "--name-only", found, "HEAD", "--", "worker"):
        return REPOSITORY, ""
    folder = directory / f"worker-{found[:10]}"
    with tarfile.open(fileobj=io.BytesIO(_git("archive", found, "worker"))) as archive:
        archive.extractall(folder, filter="data")
    return folder, found[:10]


def _git(*arguments: str) -> bytes:
    """What git says; nothing where there is no git, or no repository."""
    try:
        return subprocess.run(("git", *arguments), cwd=REPOSITORY, capture_output=True, check=True).stdout
    except (OSError, subprocess.CalledProcessError):
        return b""
