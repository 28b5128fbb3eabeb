"""What waits in Kafka, by source partition, and when a server was away: what makes an idle look deceptive."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

from worker.errors import BrokerUnavailable
from worker.feeds.lag import PartitionLag, lag
from worker.opinion.shifts.words import Span
from worker.settings import Settings
from worker.stream.records import Routes
from worker.stream.watchdog import holds_record
from worker.timing import Clock

FEW = 5
"""So few waiting offsets may be markers of transactions and no records: then it is looked."""

REMEMBERED = 1000
JOINED_S = 10
"""Outages that are closer than this are one."""


def waiting_shards(settings: Settings, routes: Routes) -> set[str]:
    """The source partitions of which records wait to be analysed, or outcomes to be counted.

    Raises:
        BrokerUnavailable: the cluster cannot be reached.
    """
    found = set()
    for each in lag(settings):
        shard = _shard_of(each, routes)
        owed = each.committed is not None or settings.start_at == "earliest"
        if shard is not None and owed and each.records > 0 and _is_real(settings, each):
            found.add(shard)
    return found


def _shard_of(found: PartitionLag, routes: Routes) -> str | None:
    if found.topic in routes.topic_ids:
        return f"{routes.topic_ids[found.topic]}:{found.partition}"
    return routes.source_shard(found.partition)


def _is_real(settings: Settings, found: PartitionLag) -> bool:
    if found.records > FEW:
        return True
    try:
        return holds_record(settings, found)
    except BrokerUnavailable:  # behind an open transaction nothing is told; what is in it is still to come
        return True


class Outages:
    """When a server was away, as far as this worker saw; looked at by a loop that runs every second or so.

    Args:
        away: whether one is away now.
        clock: the present.
    """

    def __init__(self, away: Callable[[], bool], clock: Clock) -> None:
        self._away = away
        self._clock = clock
        self._spans: deque[Span] = deque(maxlen=REMEMBERED)

    def look(self) -> None:
        """Note whether a server is away."""
        if not self._away():
            return
        now_s = self._clock.unix_ms() // 1000
        last = self._spans[-1] if self._spans else None
        if last is not None and now_s - last.end_s <= JOINED_S:
            self._spans[-1] = Span(last.start_s, now_s + 1)
        else:
            self._spans.append(Span(now_s, now_s + 1))

    def during(self, span: Span) -> bool:
        """Whether one was away at some time of a span."""
        return any(each.start_s < span.end_s and span.start_s < each.end_s for each in self._spans)
