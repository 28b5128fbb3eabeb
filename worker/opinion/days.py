"""A stretch of whole days, and what an outcome adds to its buckets when it is counted anew: pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

from worker.opinion.cells import Bucket, Outcome, Retention
from worker.opinion.increments import Increments, increments
from worker.settings import DAY_S


@dataclass(frozen=True, slots=True)
class Days:
    """Days of event time in UTC; every bucket lies in one of them.

    Args:
        start_s, end_s: the first second, and the first one after it; Unix seconds, multiples of a day.
    """

    start_s: int
    end_s: int

    @classmethod
    def around(cls, start_s: float, end_s: float) -> Days:
        """The days that a stretch of time touches; none when it is empty."""
        return cls(int(start_s // DAY_S) * DAY_S, -int(-end_s // DAY_S) * DAY_S)

    def takes(self, bucket: Bucket) -> bool:
        """Whether a bucket lies in one of them."""
        return self.start_s <= bucket.start_s < self.end_s


@dataclass(frozen=True, slots=True)
class Written:
    """An outcome and when its record was written to `enriched` or `dead-letters`, Unix milliseconds."""

    outcome: Outcome
    at_ms: int


def counted_anew(written: Written, days: Days, retention: Retention, now_ms: int) -> Increments:
    """What an outcome adds to the buckets of some days that are kept now.

    Too late is what was too late when the outcome was written, not now: so that it is the same whenever it is counted,
    and a bucket never tells of posts as late that came in time.
    """
    added = increments(written.outcome, retention, min(written.at_ms, now_ms))

    def kept(buckets: Iterable[Bucket]) -> tuple[Bucket, ...]:
        return tuple(one for one in buckets if days.takes(one) and retention.expires_at_s(one) * 1000 > now_ms)

    details = (one for one in added.details if days.takes(one))
    return replace(
        added,
        buckets=kept(added.buckets),
        late_buckets=kept(added.late_buckets),
        mention_buckets=kept(added.mention_buckets),
        details=tuple(one for one in details if retention.details_expire_at_s(one) * 1000 > now_ms),
    )
