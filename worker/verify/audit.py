"""Records in, findings out: pure. What reads Kafka and Redis is in `run.py`."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from worker.events import SourcePosition
from worker.feeds.log import Record
from worker.feeds.stretch import Span
from worker.opinion.cells import Retention
from worker.opinion.outcomes import read_outcome
from worker.settings import Settings
from worker.verify.compare import Comparison, Snapshot
from worker.verify.implied import Implied
from worker.verify.ledger import Ledger, Read
from worker.verify.report import LISTED, Finding, InputRange, OutputRange, Repeat

CLOCKS_S = 60
"""How far clocks may be apart, and how long reading Redis may take, before a bucket at its end is misjudged."""

Place = tuple[str, int]


@dataclass(frozen=True, slots=True)
class Due:
    """What must have outcomes of one input partition: the records from `begin` up to `committed`."""

    topic: str
    partition: int
    shard: str
    begin: int
    committed: int
    end: int


@dataclass(slots=True)
class Output:
    """One partition of `enriched` or `dead-letters`, and what was read of it."""

    span: Span
    records: int = 0
    foreign: int = 0
    first: int | None = None
    last: int | None = None

    @property
    def holes(self) -> int:
        """Offsets without a record: compaction took them, since polyvox writes no transactions."""
        return self.span.end - self.span.begin - self.records


@dataclass
class Audit:
    """One verification. Give it all of `dead-letters`, then all of `enriched`; then `settle`; then ask.

    Args:
        snapshots: each shard of the store; None for one that never stood still.
        places: the output partitions of each shard, as far as they are known beforehand.
    """

    settings: Settings
    now_ms: int
    snapshots: Mapping[str, Snapshot | None]
    places: Mapping[str, set[Place]]
    outputs: dict[Place, Output]
    counters: int = 0
    wrong: Counter[str] = field(default_factory=Counter)
    findings: list[Finding] = field(default_factory=list)
    unchecked: list[str] = field(default_factory=list)
    _ledgers: dict[str, Ledger] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for shard in self.snapshots:
            self._ledger(shard)

    def take(self, record: Record) -> None:
        """Take the next record of an output topic."""
        output = self.outputs[record.topic, record.partition]
        output.records += 1
        output.first = record.offset if output.first is None else output.first
        output.last = record.offset
        try:
            outcome = read_outcome(record.headers, record.value)
        except ValueError:
            output.foreign += 1
            return
        read = Read(record.topic, record.partition, record.offset, record.timestamp_ms, outcome)
        self._ledger(outcome.position.shard).take(read)

    def undecided(self) -> list[SourcePosition]:
        """Records for which `settle` needs to know whether the store counted them as analysed."""
        return [position for ledger in self._ledgers.values() for position in ledger.undecided_positions()]

    def settle(self, analysed: Mapping[SourcePosition, bool]) -> None:
        """Count what had to wait for the end of the logs, then compare every shard and every label."""
        for shard, ledger in self._ledgers.items():
            ledger.settle(analysed)
            self._find(ledger.label_findings(), ledger.repeated["labels"])
            why_not = self._why_not(shard, ledger)
            if why_not is not None:
                self.unchecked.append(f"counters of {shard}: {why_not}")
                continue
            self._compare(shard, ledger)

    def input_range(self, due: Due, records: Iterable[Record]) -> InputRange:
        """Judge the records of an input partition that stand where `without_outcome` found none."""
        horizon_ms, first = self._horizon_ms(due.shard), self._first_due(due)
        holes = sum(self.outputs[place].holes for place in self._places(due.shard) if place in self.outputs)
        missing: list[str] = []
        lost = unknown = 0
        for record in records:
            if record.offset < first or record.timestamp_ms <= horizon_ms + CLOCKS_S * 1000 or unknown < holes:
                unknown += 1
                continue
            lost += 1
            if lost <= LISTED:
                missing.append(f"{due.topic}[{due.partition}]@{record.offset}")
        self._find([Finding("no_outcome", where, "an outcome", "none") for where in missing], lost)
        if unknown:
            self.unchecked.append(
                f"{due.topic}[{due.partition}]: {unknown} records without an outcome whose outcome may have expired, "
                "been compacted away, or lie before the worker's first start"
            )
        return InputRange(
            topic=due.topic,
            partition=due.partition,
            begin=due.begin,
            end=due.end,
            first=due.begin if due.committed > due.begin else None,
            last=due.committed - 1 if due.committed > due.begin else None,
            missing=lost,
            unknown=unknown,
        )

    def without_outcome(self, due: Due) -> Iterator[tuple[int, int]]:
        """Stretches of an input partition to look up: offsets that should have an outcome, if they hold a record."""
        return self._ledger(due.shard).without_outcome(due.begin, due.committed)

    def output_ranges(self) -> list[OutputRange]:
        """What was read, and how far of it the store has it."""
        return [
            OutputRange(
                topic=topic,
                partition=partition,
                first=output.first,
                last=output.last,
                applied_to=self._applied_to((topic, partition)),
                foreign=output.foreign,
            )
            for (topic, partition), output in self.outputs.items()
        ]

    def repeats(self) -> tuple[list[Repeat], dict[str, int]]:
        """Examples of repeats that differ, and how many repeats there are of each kind."""
        counted: Counter[str] = Counter()
        for ledger in self._ledgers.values():
            counted.update(ledger.repeated)
        return [repeat for ledger in self._ledgers.values() for repeat in ledger.repeats], dict(counted)

    def _ledger(self, shard: str) -> Ledger:
        if shard not in self._ledgers:
            implied = Implied(Retention.of(self.settings), self.now_ms + CLOCKS_S * 1000)
            horizon_ms = self._horizon_ms(shard)
            positions = self._snapshot(shard).positions
            self._ledgers[shard] = Ledger(positions, implied, None if horizon_ms == -math.inf else horizon_ms)
        return self._ledgers[shard]

    def _snapshot(self, shard: str) -> Snapshot:
        return self.snapshots.get(shard) or Snapshot()

    def _places(self, shard: str) -> set[Place]:
        return self.places.get(shard, set()) | set(self._snapshot(shard).positions)

    def _horizon_ms(self, shard: str) -> float:
        """Outcomes of a shard that were written up to then may be gone; -inf: none is, inf: nobody knows."""
        horizon_ms = -math.inf
        for place in self._places(shard):
            output = self.outputs.get(place)
            if output is None:
                return math.inf
            if output.span.begin > 0:
                oldest_ms = output.span.oldest_ms
                horizon_ms = max(horizon_ms, math.inf if oldest_ms is None else oldest_ms)
        return horizon_ms

    def _first_due(self, due: Due) -> int:
        """Where the worker began: the start of the log, or the first record with an outcome when told `latest`."""
        if self.settings.start_at == "earliest":
            return due.begin
        lowest = self._ledger(due.shard).lowest()
        return due.committed if lowest is None else max(due.begin, lowest)

    def _why_not(self, shard: str, ledger: Ledger) -> str | None:
        """Why the counters of a shard cannot be compared at all."""
        if shard in self.snapshots and self.snapshots[shard] is None:
            return "written to all the time; run again when the aggregate stage is idle or stopped"
        if self._horizon_ms(shard) == math.inf:
            return "its outcomes have expired, or stand in topics that are not configured"
        if any(self.outputs[place].holes for place in self._places(shard)):
            return "its outcomes were compacted, so that some are gone"
        if ledger.undecided:
            return (
                f"{ledger.undecided} records have an analysis, a dead letter and a requeued analysis, in unknown order"
            )
        return None

    def _compare(self, shard: str, ledger: Ledger) -> None:
        horizon_ms = self._horizon_ms(shard)
        since_s = None
        if horizon_ms > -math.inf:
            since_s = horizon_ms / 1000 + self.settings.future_tolerance_s + CLOCKS_S
            self.unchecked.append(
                f"counters of {shard}: the oldest outcomes have expired; no totals, and only buckets that begin after "
                f"{since_s:.0f} (Unix seconds)"
            )
        comparison = Comparison(shard, ledger.implied, self._snapshot(shard), since_s)
        found = list(comparison.findings())
        self._find(found, len(found))
        self.counters += comparison.compared
        wrong = [*self._wrong_positions(shard)]
        self._find(wrong, len(wrong))

    def _wrong_positions(self, shard: str) -> Iterator[Finding]:
        """Positions outside of the log, with which the aggregate stage would not start."""
        for place, position in self._snapshot(shard).positions.items():
            span = self.outputs[place].span
            if place in self.places.get(shard, ()) and not span.begin <= position <= span.end:
                where = f"{shard} {span.topic}[{span.partition}]"
                yield Finding("position", where, f"{span.begin} to {span.end}", str(position))

    def _applied_to(self, place: Place) -> int | None:
        found = [
            snapshot.positions[place]
            for snapshot in self.snapshots.values()
            if snapshot and place in snapshot.positions
        ]
        return max(found, default=None)

    def _find(self, found: list[Finding], count: int) -> None:
        """Note findings of one kind and partition, of which `found` may be the first ones only."""
        if count:
            self.wrong[found[0].kind] += count
            self.findings += found[:LISTED]
