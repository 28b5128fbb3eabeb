"""How the commands of `polyvox model` run: a progress bar, and errors in one line."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from worker.cli.console import err
from worker.errors import ConfigInvalid, PolyvoxError


@contextmanager
def bar(name: str, unit: str) -> Iterator[Callable[[int, int], None]]:
    """A progress bar on a terminal's standard error; nothing elsewhere."""
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    console = err()
    columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.completed}/{task.total} " + unit))
    with Progress(*columns, TimeRemainingColumn(), console=console, disable=not console.is_terminal) as shown:
        task = shown.add_task(name, total=None)
        yield lambda done, total: shown.update(task, completed=done, total=total)


@contextmanager
def train_errors() -> Iterator[None]:
    """Say in one line what the model's code refuses, and that it needs an extra where that is missing.

    Raises:
        ConfigInvalid: torch or another package of the extra is not installed.
        PolyvoxError: the model's own error, or a file or hub that cannot be reached.
    """
    try:
        yield
    except ModuleNotFoundError as error:
        raise ConfigInvalid(f"{error.name} is not installed: pip install 'polyvox[train]'") from None
    except OSError as error:
        raise PolyvoxError(str(error).partition("\n")[0]) from error
    except ValueError as error:
        if not type(error).__module__.startswith("worker.model"):
            raise
        raise PolyvoxError(str(error)) from error
