"""The outcomes of one source partition as the logs have them: which records have one, repeats, and what they imply."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from worker.events import SourcePosition
from worker.opinion.cells import Outcome
from worker.verify.implied import Implied
from worker.verify.marks import Marks, difference, mark_of
from worker.verify.report import LISTED, Difference, Finding, Repeat

MANY = 1_000
"""Offsets in a stretch to look up, at most; what a caller must hold at once."""


@dataclass(frozen=True, slots=True)
class Read:
    """An outcome and where it stands in `enriched` or `dead-letters`."""

    topic: str
    partition: int
    offset: int
    written_ms: int
    outcome: Outcome


class Ledger:
    """Takes every outcome of one shard: dead letters first, then `enriched`, each in the order of the log.

    Args:
        positions: of each consumed partition, the next offset to apply; from there on nothing is counted.
        implied: what to count into.
        horizon_ms: outcomes written before may be gone from the logs; None when the logs are whole.
    """

    def __init__(
        self, positions: Mapping[tuple[str, int], int], implied: Implied, horizon_ms: float | None = None
    ) -> None:
        self.implied = implied
        self.repeated: Counter[Difference] = Counter()
        self.repeats: list[Repeat] = []
        self.undecided = 0
        self._positions = positions
        self._horizon_ms = horizon_ms
        self._marks = Marks()
        self._dead: dict[int, Read] = {}
        self._both: dict[int, Read] = {}

    def take(self, read: Read) -> None:
        """Take the next outcome.

        Of two outcomes in one log the first was applied first. A dead letter is counted at the end, by `settle`.
        """
        outcome, offset = read.outcome, read.outcome.position.offset
        if outcome.kind == "dead_lettered":
            first = self._dead.setdefault(offset, read)
            if first is not read:
                self._repeat(outcome, "none" if first.outcome.reason == outcome.reason else "kind")
            return
        mark, before = mark_of(outcome), self._marks.get(offset)
        if before:
            self._repeat(outcome, difference(before, mark))
            return
        self._marks.set(offset, mark)
        if offset in self._dead:
            self._repeat(outcome, "kind")
            self._both[offset] = read
        else:
            self._count(read)

    def undecided_positions(self) -> list[SourcePosition]:
        """Originals for which `settle` needs to know whether Redis counted them as analysed."""
        return [read.outcome.original for read in self._both.values()]

    def settle(self, analysed: Mapping[SourcePosition, bool]) -> None:
        """Count dead letters, and of records that have both outcomes the one that was applied first.

        The logs do not say which one that was; the guard's bit does, unless another record set it too.
        """
        for offset, read in self._both.items():
            dead, original = self._dead.pop(offset), read.outcome.original
            if not self._applied(read) or not self._applied(dead):
                self._count(read if self._applied(read) else dead)
            elif original.offset in self.implied.counts.analysed:
                self.undecided += 1
            else:
                self._count(read if analysed[original] else dead)
        for read in self._dead.values():
            self._count(read)
            self._marks.set(read.outcome.position.offset, 1)
        self._both, self._dead = {}, {}

    def without_outcome(self, begin: int, end: int) -> Iterator[tuple[int, int]]:
        """Stretches [first, last + 1) of offsets without an outcome, each of `MANY` at most; after `settle`."""
        start: int | None = None
        for offset in range(begin, end):
            seen = offset in self._marks
            if start is not None and (seen or offset - start == MANY):
                yield start, offset
                start = None
            if start is None and not seen:
                start = offset
        if start is not None:
            yield start, end

    def lowest(self) -> int | None:
        """The first offset that has an outcome; after `settle`."""
        return self._marks.lowest()

    def label_findings(self) -> list[Finding]:
        """Repeats that break promise 6: one text, one model version, other labels."""
        return [
            Finding("labels", repeat.where, "the labels of the first outcome", f"others, event {repeat.event_id}")
            for repeat in self.repeats
            if repeat.difference == "labels"
        ]

    def _applied(self, read: Read) -> bool:
        return read.offset < self._positions.get((read.topic, read.partition), 0)

    def _count(self, read: Read) -> None:
        if self._applied(read):
            self.implied.count(read.outcome, read.written_ms, known=self._known(read.outcome))

    def _known(self, outcome: Outcome) -> bool:
        """Whether nothing that happened to a requeued record's original is gone from the logs."""
        if self._horizon_ms is None or outcome.origin_offset is None:
            return True
        dead = self._dead.get(outcome.origin_offset)
        return dead is not None and dead.written_ms > self._horizon_ms

    def _repeat(self, outcome: Outcome, difference: Difference) -> None:
        self.repeated[difference] += 1
        position = outcome.position
        # Room for each difference: many harmless ones must not hide the one that breaks a promise.
        if difference != "none" and self.repeated[difference] <= LISTED:
            where = f"{position.topic}[{position.partition}]@{position.offset}"
            self.repeats.append(Repeat(where, position.event_id, difference))
