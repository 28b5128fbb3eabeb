"""One record on its way through the enrich stage, and the units in which it waits for the model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from worker.analysis.inference import Logits
from worker.analysis.prepare import Prepared, Window
from worker.errors import BadRecord
from worker.events import Analysis
from worker.opinion.stories import Candidate
from worker.stream.commit import Ledger, Slot
from worker.stream.outcomes import Draft
from worker.stream.records import OutputRecord

Complete = tuple["Work", BadRecord | None]
"""A record whose windows are all answered, or one of whose windows the model refused."""


@dataclass(slots=True)
class Work:
    """One record on its way through the stages."""

    draft: Draft
    ledger: Ledger[OutputRecord]
    slot: Slot[OutputRecord]
    prepared: Prepared | None = None
    answers: list[Logits | None] = field(default_factory=list)
    left: int = 0


@dataclass(frozen=True, slots=True)
class Unit:
    """One window of one record, waiting in the pool."""

    work: Work
    index: int
    window: Window
    since_s: float

    @property
    def length(self) -> int:
        return self.window.length

    @property
    def event_id(self) -> str:
        return self.work.draft.placed.origin.event_id


@dataclass(frozen=True, slots=True)
class Analysed:
    """One record with its analysis, which waits for its story to be decided."""

    work: Work
    analysis: Analysis
    candidate: Candidate


def collect(units: Sequence[Unit], answers: Sequence[Logits | BadRecord]) -> list[Complete]:
    """Lay answers on their records; those that now have all of them, or one that is bad."""
    complete: list[Complete] = []
    for unit, answer in zip(units, answers, strict=True):
        work = unit.work
        if work.left <= 0:
            continue  # another window of this record was bad before
        if isinstance(answer, BadRecord):
            work.left = 0
            complete.append((work, answer))
            continue
        work.answers[unit.index] = answer
        work.left -= 1
        if work.left == 0:
            complete.append((work, None))
    return complete
