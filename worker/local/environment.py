"""Triton's own virtual environment: made when it is absent or out of date, never taken for complete when it is not.

It is apart from the main one because Triton's python backend needs numpy below 2 (requirements/triton.in).
"""

from __future__ import annotations

import fcntl
import hashlib
import importlib.util
import os
import shutil
import sys
import sysconfig
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from worker.errors import PlatformUnsupported
from worker.local.process import Guarded, Launch, log_tail
from worker.settings import REPOSITORY

LAYOUT = "1"  # raise when this module makes the environment in another way
LOCK_POLL_S = 0.5
STOP_S = 2.0
PIP_FLAGS = ("--no-deps", "--only-binary=:all:", "--no-input", "--progress-bar=off", "--disable-pip-version-check")

Progress = Callable[[str], None]


def requirements_file(repository: Path = REPOSITORY) -> Path:
    """The lock with hashes when there is one, else the list it is made from."""
    lock = repository / "requirements" / "triton.txt"
    return lock if lock.is_file() else lock.with_suffix(".in")


def site_packages(environment: Path) -> Path:
    """Where an environment made by this interpreter keeps its packages."""
    return Path(sysconfig.get_path("purelib", "venv", {"base": str(environment), "platbase": str(environment)}))


def fingerprint(requirements: Path) -> str:
    """What a finished environment was made from: layout, interpreter and requirements."""
    parts = (LAYOUT, sys.version, sys.base_prefix, str(REPOSITORY))
    return hashlib.sha256("\n".join(parts).encode() + requirements.read_bytes()).hexdigest()


def is_current(environment: Path, requirements: Path) -> bool:
    """Whether the environment was finished, from these requirements."""
    stamp = environment / "polyvox-stamp"
    return stamp.is_file() and stamp.read_text() == fingerprint(requirements)


def ensure_triton_environment(environment: Path, progress: Progress, requirements: Path | None = None) -> None:
    """Make or renew the environment; does nothing, in microseconds, when it is current.

    `requirements` is what to install, by default this checkout's `requirements_file()`.

    May be interrupted at any point: the stamp is written last, and without it everything is made again. Two processes
    may call it at once: the second waits for the first.

    Raises:
        PlatformUnsupported: the installation failed; the message holds the end of its log.
    """
    requirements = requirements or requirements_file()
    if is_current(environment, requirements):
        return
    environment.mkdir(parents=True, exist_ok=True)
    with _locked(environment, progress):
        if not is_current(environment, requirements):
            _install(environment, requirements, progress)


def _install(environment: Path, requirements: Path, progress: Progress) -> None:
    if importlib.util.find_spec("pip") is None:
        raise PlatformUnsupported(f"pip is missing from {sys.prefix}: run `{sys.executable} -m ensurepip`")
    started_s = time.monotonic()
    progress(f"triton: installing its environment in {environment} (about 110 MB to download, once)")
    _empty(environment)
    _run(environment, "-m", "venv", "--without-pip", str(environment))
    python = str(environment / "bin" / "python")
    _run(environment, "-m", "pip", "--python", python, "install", *PIP_FLAGS, "--requirement", str(requirements))
    # triton_models/*/1/model.py import `worker`; a path file is an editable install without a build.
    (site_packages(environment) / "polyvox.pth").write_text(f"{REPOSITORY}\n")
    stamp = environment / "polyvox-stamp"
    partial = stamp.with_suffix(".partial")
    partial.write_text(fingerprint(requirements))
    partial.rename(stamp)
    progress(f"triton: environment installed in {time.monotonic() - started_s:.0f} s")


def _run(environment: Path, *arguments: str) -> None:
    """Run this interpreter with `arguments`; guarded, so that an interrupted installation leaves no process."""
    log = environment / "install.log"
    child = Guarded(Launch((sys.executable, *arguments), environment, log, stop_s=STOP_S))
    try:
        status = child.wait()
    finally:
        child.stop()
    if status != 0:
        raise PlatformUnsupported(
            f"installing Triton's environment in {environment} failed (status {status}). The end of {log}:\n"
            f"{log_tail(log)}\n  Check the network and the free disk space (350 MB), then run the same command again."
        )


def _empty(directory: Path) -> None:
    """Delete what a directory holds, not the directory: it is the lock."""
    for entry in directory.iterdir():
        if entry.is_dir() and not entry.is_symlink():
            shutil.rmtree(entry)
        else:
            entry.unlink()


@contextmanager
def _locked(directory: Path, progress: Progress) -> Iterator[None]:
    """Hold an exclusive lock on `directory`; says once that it waits."""
    lock = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        told = False
        while True:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if not told:
                    progress("triton: another process installs the environment; waiting for it")
                told = True
                time.sleep(LOCK_POLL_S)
        yield
    finally:
        os.close(lock)
