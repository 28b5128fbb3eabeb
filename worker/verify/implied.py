"""What the applied outcomes of one source partition imply for Redis, and how sure that is: pure.

One thing depends on when an outcome was applied, which no log says: whether it was too late for a bucket. It was
applied between being written and now; both ends are computed, and where they differ a value in Redis may lie anywhere
between them. Buckets that are kept now were kept then: they are exact.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from worker.opinion.cells import Bucket, Mention, Outcome, Retention
from worker.opinion.counts import Counts
from worker.opinion.increments import Increments, increments

Place = tuple[Bucket | None, str]
"""A counter: of a bucket, or of the totals."""


@dataclass(slots=True)
class Implied:
    """The counters, and by how much less of each Redis may hold.

    Args:
        retention: what is kept how long.
        now_ms: the present; buckets that end their time soon are better counted as past.
        unsure: buckets to which a record adds whose history is not known.
    """

    retention: Retention
    now_ms: int
    counts: Counts = field(default_factory=Counts)
    less: Counter[Place] = field(default_factory=Counter)
    unsure: set[Bucket] = field(default_factory=set)

    def count(self, outcome: Outcome, written_ms: int, *, known: bool = True) -> None:
        """Count a first outcome that was written at `written_ms` and applied since.

        Args:
            known: whether all outcomes of the same original are in the logs.
        """
        added = increments(outcome, self.retention, self.now_ms)
        if added.too_late:
            self._widen(added, increments(outcome, self.retention, min(written_ms, self.now_ms)))
        if not known:
            self.unsure.update(added.buckets, added.mention_buckets)
        # Authors and samples are approximate or no counters; they are not compared.
        self.counts.count(outcome, replace(added, mentions=_nameless(added.mentions), details=()))

    def _widen(self, now: Increments, then: Increments) -> None:
        """Note what would have been counted otherwise when the outcome was written."""
        self.less.update((None, f"too_late:{level}") for level in now.too_late if level not in then.too_late)
        self.less.update((bucket, "too_late") for bucket in now.late_buckets if bucket.level not in then.too_late)

    def kept(self, bucket: Bucket) -> bool:
        """Whether a bucket is still there."""
        return self.retention.expires_at_s(bucket) * 1000 > self.now_ms

    def allows(self, place: Place, expected: int, found: int) -> bool:
        """Whether a value fits."""
        return expected - self.less[place] <= found <= expected


def _nameless(mentions: Sequence[Mention]) -> tuple[Mention, ...]:
    """Counts by entity are lower bounds and not compared."""
    return tuple(Mention("", mention.measures) for mention in mentions)
