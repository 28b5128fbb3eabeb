"""What a worker has logged, read from the file."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any


def logged(log: Path, event: str) -> list[dict[str, Any]]:
    """What it logged of one event; a line that is being written is left for later."""
    wanted = f'"event": "{event}"'
    lines = [line for line in log.read_text("utf-8").split("\n")[:-1] if wanted in line]
    return [each for line in lines for each in _objects(line) if each["event"] == event]


def _objects(line: str) -> Iterator[dict[str, Any]]:
    """The objects of a line: those who write at one moment share it, and Faust writes a control sequence before one."""
    decoder = json.JSONDecoder()
    at = line.find("{")
    while at >= 0:
        found, end = decoder.raw_decode(line, at)
        yield found
        at = line.find("{", end)
