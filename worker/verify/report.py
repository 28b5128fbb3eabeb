"""What a verification found, and what it could not look at: plain frozen values, ready for a table or JSON."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

FindingKind = Literal["no_outcome", "counter", "position", "labels"]
Difference = Literal["none", "labels", "model", "kind"]

LISTED = 20
"""Of one kind and source partition, as examples; all are counted."""

NEVER_CHECKED = (
    "counts by entity (`forms` keys) and watermarks: approximate by design",
    "`applied_ms`: no log says when Redis was told",
    "buckets that are past their retention, and what the guard forgot",
    "`too_late` and `copies` of posts that lie at the edge of a retention: only that they are possible",
)
"""What no run can compare, for people."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that does not hold.

    Args:
        kind: `no_outcome` an input record without one; `counter` a value in Redis that the outcomes do not imply;
            `position` one in Redis that does not fit the log; `labels` a repeat with other labels of one model version.
        where: a source position, or a key and field as in `docs/redis-layout.md`.
        expected: what the logs imply.
        found: what is there.
    """

    kind: FindingKind
    where: str
    expected: str
    found: str


@dataclass(frozen=True, slots=True)
class Repeat:
    """A further outcome of a record; `difference` from the first: `kind` is enriched against dead-lettered."""

    where: str
    event_id: str
    difference: Difference


@dataclass(frozen=True, slots=True, kw_only=True)
class InputRange:
    """What was checked of one input partition: every record from `first` to `last`; None and None if none was due.

    Args:
        begin, end: what the log holds; `end` is the offset that the next record gets.
        unknown: records whose outcomes may have expired, or been compacted away.
    """

    topic: str
    partition: int
    begin: int
    end: int
    first: int | None
    last: int | None
    missing: int
    unknown: int


@dataclass(frozen=True, slots=True, kw_only=True)
class OutputRange:
    """What was read of one partition of `enriched` or `dead-letters`.

    Args:
        first, last: offsets of the first and the last record; None in an empty log.
        applied_to: the next offset that the aggregate stage reads, as Redis has it; None before its first batch.
        foreign: records that polyvox did not write.
    """

    topic: str
    partition: int
    first: int | None
    last: int | None
    applied_to: int | None
    foreign: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """The outcome of one run.

    Args:
        findings: examples; `wrong` counts all of them by kind.
        repeats: examples of repeats that differ; `repeated` counts all repeats by difference.
        counters: values in Redis that were compared.
        unchecked: what this run could not look at, one line each.
    """

    inputs: Sequence[InputRange]
    outputs: Sequence[OutputRange]
    counters: int
    findings: Sequence[Finding]
    wrong: dict[str, int] = field(default_factory=dict)
    repeats: Sequence[Repeat]
    repeated: dict[str, int] = field(default_factory=dict)
    unchecked: Sequence[str]

    @property
    def holds(self) -> bool:
        """Whether nothing is missing or wrong in what was checked."""
        return not self.wrong
