"""Planted bugs, and the row of the fault table that must fail on each."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

from tests.fault.row import Result, Row
from tests.fault.rows import redis_replies, seams, unwritable
from worker.settings import REPOSITORY

SAID_CHARACTERS = 200


@dataclass(frozen=True)
class Planted:
    """What became of a planted bug.

    Args:
        row: that must fail.
        found: it failed, and said what it must.
        said: its words, in one line.
    """

    name: str
    row: str
    found: bool
    said: str

    def line(self) -> str:
        """One line for people."""
        return f"{'ok' if self.found else 'FAIL'} mutant '{self.name}': row {self.row} says: {self.said}"


@dataclass(frozen=True)
class Mutant:
    """One place of worker/ changed.

    Args:
        file: under worker/.
        healthy, broken: what stands there, once, and what the mutant has instead; `added` goes to the file's end.
        row, repeats: what must fail.
        finds: what the row must say of it.
    """

    name: str
    file: str
    healthy: str
    broken: str
    row: Row
    repeats: int
    finds: str
    added: str = ""

    def judged(self, result: Result) -> Planted:
        """Whether its row has found it."""
        said = " ".join((result.broken or "all holds").split())[:SAID_CHARACTERS]
        return Planted(self.name, self.row.number, self.finds in (result.broken or ""), said)

    def plant(self, root: Path) -> Path:
        """Copy what a worker needs to `root`, and change it there; `root`.

        Raises:
            ValueError: the shipped code no longer holds the place: adapt the mutant.
        """
        skip = shutil.ignore_patterns("__pycache__")
        shutil.copytree(REPOSITORY / "worker", root / "worker", ignore=skip)
        (root / "tests" / "fault").mkdir(parents=True)
        for file in ("tests/__init__.py", "tests/fault/__init__.py", "tests/fault/seams.py"):
            shutil.copyfile(REPOSITORY / file, root / file)
        place = root / "worker" / self.file
        text = place.read_text(encoding="utf-8")
        if text.count(self.healthy) != 1:
            raise ValueError(f"{self.file} holds {self.healthy!r} {text.count(self.healthy)} times: adapt this mutant")
        place.write_text(text.replace(self.healthy, self.broken) + self.added, encoding="utf-8")
        return root


TAKEN = """

async def _taken(stream):
    async for events in stream.take_events(1, within=0.1):
        for event in events:
            yield event
"""
PUBLISH = "    await publish([slot.outcome for slot in prefix if slot.outcome is not None])\n"

MUTANTS = (
    Mutant(
        name="take() acknowledges what was only handed over",
        file="stream/build.py",
        healthy="async for event in stream.noack().events():",
        broken="async for event in _taken(stream):",
        added=TAKEN,
        row=seams.ROW,
        repeats=1,
        finds="no_outcome",
    ),
    Mutant(
        name="ack before publish",
        file="stream/commit.py",
        healthy=PUBLISH,
        broken=f"    for slot in prefix:\n        slot.ack()\n{PUBLISH}",
        row=seams.ROW,
        repeats=1,
        finds="no_outcome",
    ),
    Mutant(
        name="guard removed",
        file="opinion/apply.lua",
        healthy="if claim(row.offset, SEEN) then",
        broken="if claim(row.offset, SEEN) or true then",
        row=redis_replies.ROW,
        repeats=3,
        finds="counter",
    ),
    Mutant(
        name="retry of a write that is not idempotent",
        file="opinion/apply.lua",
        healthy="  if claim(row.offset, SEEN) then\n",
        # a record is received at each delivery, whether or not it is the first
        broken="  count(totals, 'received', 1)\n  if claim(row.offset, SEEN) then\n    count(totals, 'received', -1)\n",
        row=redis_replies.ROW,
        repeats=3,
        finds="counter",
    ),
    Mutant(
        name="a failed send swallowed",
        file="stream/kafka.py",
        healthy="            except KafkaError as error:\n                topics",
        broken="            except KafkaError as error:\n                return\n                topics",
        row=unwritable.ROW,
        repeats=1,
        finds="committed that is not published",
    ),
)
