"""A row of the fault table, what it found, and how both are printed: plain values."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING

from worker.settings import REPOSITORY

if TYPE_CHECKING:
    from tests.fault.rig import Rig


class Broken(Exception):
    """A promise does not hold; says which, and what was seen."""


def hold(promise: bool, what: str) -> None:
    """Raise `Broken` unless a promise holds."""
    if not promise:
        raise Broken(what)


@dataclass
class Figures:
    """What a row counted.

    Args:
        repeats: how often the fault happened.
        lost: input records without an outcome, or not yet committed.
        double_counted: counters and positions in Redis that the first applied outcomes do not imply.
        duplicates: outcomes of a record beyond its first, in Kafka.
        worst_recovery_s: the longest time from the end of a fault (or the start of the next worker) to progress.
        notes: further figures, by name with its unit.
        late: promises of time that were not kept; what else a row promises is looked at all the same.
    """

    repeats: int = 0
    lost: int = 0
    double_counted: int = 0
    duplicates: int = 0
    worst_recovery_s: float = 0.0
    notes: dict[str, float | int | str] = field(default_factory=dict)
    late: list[str] = field(default_factory=list)

    def recovered(self, after_s: float) -> None:
        """Note how long one recovery took."""
        self.worst_recovery_s = max(self.worst_recovery_s, after_s)

    def within(self, seconds: float, limit_s: float, what: str) -> None:
        """Hold a time against its limit; one that is late fails the row at its end."""
        if seconds > limit_s:
            self.late.append(f"{what} took {seconds:.1f} s, {limit_s:g} s are allowed")


@dataclass(frozen=True)
class Trial:
    """One run of a row: the servers, its own randomness, how many repeats, and where its figures go.

    Args:
        root: the checkout whose workers are tested; a mutant of it when the tests are tested.
    """

    rig: Rig
    random: Random
    repeats: int
    figures: Figures
    root: Path = REPOSITORY


@dataclass(frozen=True)
class Row:
    """One fault. `run` raises `Broken` when what must hold does not.

    Args:
        number: its line in the table.
        fault, promise: for people.
        repeats: of a full run; `--share` takes a part of them.
    """

    number: str
    fault: str
    promise: str
    repeats: int
    run: Callable[[Trial], None]

    def share_of(self, share: float) -> int:
        """The repeats of a shorter run; at least one."""
        return max(1, round(self.repeats * share))


@dataclass(frozen=True)
class Result:
    """What became of a row in one run; `broken` is None when everything held."""

    number: str
    fault: str
    full_repeats: int
    seed: int
    seconds: float
    figures: Figures
    broken: str | None

    @property
    def full_s(self) -> float:
        """What all repeats would have taken, at most: a part of a row's time does not depend on them."""
        return self.seconds * self.full_repeats / max(1, self.figures.repeats)

    def line(self) -> str:
        """One line for people."""
        found = self.figures
        notes = "".join(f", {name} {value}" for name, value in found.notes.items())
        return (
            f"{'FAIL' if self.broken else 'ok'} row {self.number} {self.fault}: {found.repeats} of "
            f"{self.full_repeats} repeats, seed {self.seed}, lost {found.lost}, double-counted {found.double_counted}, "
            f"duplicates {found.duplicates}, worst recovery {found.worst_recovery_s:.1f} s{notes}, "
            f"took {self.seconds:.0f} s" + (f"\n     {self.broken}" if self.broken else "")
        )
