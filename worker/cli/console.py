"""What all commands share: consoles, exit codes, errors in one line, examples in help, text that is safe to print."""

from __future__ import annotations

import json
import signal
import sys
import unicodedata
from collections.abc import Coroutine, Iterator
from contextlib import contextmanager
from enum import IntEnum
from typing import Any, TypeVar

import typer
from rich.console import Console
from rich.markup import escape
from typer.core import TyperGroup

from worker.errors import ConfigInvalid, PlatformUnsupported, PolyvoxError

Result = TypeVar("Result")

PLAIN_WIDTH = 120
"""Columns of a table that goes to a file or a pipe."""


class Exit(IntEnum):
    """What the process ends with."""

    FINE = 0
    PROBLEM = 1
    USAGE = 2
    TERMINATED = 143
    INTERRUPTED = 130


def out() -> Console:
    """Standard output; without control codes when it is no terminal. Made anew, since tests replace the streams."""
    return Console(highlight=False, width=None if sys.stdout.isatty() else PLAIN_WIDTH)


def err() -> Console:
    """Standard error, where everything goes that is not the answer."""
    return Console(stderr=True, highlight=False, soft_wrap=True)


def say(message: str, style: str = "") -> None:
    """One line on standard error, taken literally."""
    err().print(message, style=style, markup=False)


def answer(line: str) -> None:
    """One line on standard output as it is, flushed, so that a pipe sees it at once."""
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def json_line(value: Any) -> None:
    """One JSON object on standard output."""
    answer(json.dumps(value, ensure_ascii=False, default=str))


def run_async(call: Coroutine[Any, Any, Result]) -> Result:
    """As `asyncio.run`, imported with the command: `--help` is 20 ms faster without it."""
    from asyncio import run

    return run(call)


def exit_code(error: PolyvoxError) -> Exit:
    """Settings and machines that cannot work are wrong usage; everything else is a problem that was found."""
    return Exit.USAGE if isinstance(error, ConfigInvalid | PlatformUnsupported) else Exit.PROBLEM


class ErrorsInOneLine(TyperGroup):
    """The root command: an expected error is one line on standard error, and Ctrl-C is quiet."""

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except PolyvoxError as error:
            say(f"polyvox: {error}", style="red")
            raise typer.Exit(exit_code(error)) from None
        except KeyboardInterrupt:
            raise typer.Exit(Exit.INTERRUPTED) from None


@contextmanager
def stopped_in_order() -> Iterator[None]:
    """Let the first Ctrl-C or SIGTERM stop what was started, and further ones not disturb the stopping."""

    def stop(number: int, _frame: object) -> None:
        for each in (signal.SIGINT, signal.SIGTERM):
            signal.signal(each, signal.SIG_IGN)
        say("stopping", "bright_black")
        if number == signal.SIGINT:
            raise KeyboardInterrupt
        raise SystemExit(Exit.TERMINATED)

    before = {each: signal.signal(each, stop) for each in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for each, handler in before.items():
            signal.signal(each, handler)


def examples(*commands: str, after: str = "") -> str:
    """The epilog of a help text: commands to copy, then a remark."""
    lines = ["[bold]Examples[/bold]", *(f"  [green]{escape(command)}[/green]" for command in commands)]
    return "\n".join([*lines, *(["", escape(after)] if after else [])])


def printable(text: str, limit: int | None = None) -> str:
    """A post's text for a terminal: one line, no control or direction-override characters, at most so many characters.

    A post may hold escape sequences that would rewrite the reader's screen.
    """
    line = " ".join(text.split())
    safe = "".join(character for character in line if _is_safe(character))
    return safe if limit is None or len(safe) <= limit else safe[: limit - 1] + "…"


def _is_safe(character: str) -> bool:
    """Cc holds the escape character; U+202A-202E and U+2066-2069 turn the direction of what follows."""
    if character in "\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069":
        return False
    return unicodedata.category(character) not in ("Cc", "Cs")
