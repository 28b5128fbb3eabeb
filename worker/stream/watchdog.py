"""Ends a worker that does nothing: Faust's consumers can die silently, and from within a dead one looks idle.

So it looks from outside, with clients of its own: what the group has committed, and where the logs end. Judged is a
stage as a whole: one partition may wait long behind the backlog of another.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field

from worker.errors import PolyvoxError, Stalled, Transient
from worker.feeds.lag import PartitionLag, own_lag
from worker.feeds.stretch import stretches
from worker.settings import Settings
from worker.stream.records import TopicPartition
from worker.telemetry import Log, get_logger
from worker.timing import Clock

LOOKS = 10
"""In the time after which a stage counts as stalled."""


@dataclass
class Stillness:
    """How long a stage has not moved although records wait: the decision, without clock and clients.

    Args:
        limit_s: after which it is too long.
    """

    limit_s: float
    _since_s: float | None = None
    _committed: dict[TopicPartition, int | None] = field(default_factory=dict)

    def too_long(self, now_s: float, lags: Sequence[PartitionLag], *, outage: bool) -> bool:
        """Look once; whether every look for `limit_s` found records waiting, no outage, and the same positions.

        Args:
            now_s: monotonic seconds.
            lags: the stage's partitions that this worker reads; others read further or came: the count starts anew.
            outage: a server is known to be away.
        """
        committed = {TopicPartition(lag.topic, lag.partition): lag.committed for lag in lags}
        waiting = any(lag.records > 0 for lag in lags)
        if outage or not waiting or committed != self._committed or self._since_s is None:
            self._since_s, self._committed = now_s, committed
            return False
        return now_s - self._since_s >= self.limit_s

    def restart(self) -> None:
        """Start the count anew, after a look that told nothing."""
        self._since_s = None


@dataclass(frozen=True)
class Watched:
    """What a watchdog looks at; all of it replaceable.

    Args:
        assigned: the partitions that this worker reads.
        outages: of each stage, whether a server is known to be away.
        lags: committed positions and ends of all partitions of these stages; raises `Transient` when it cannot tell.
        holds_record: whether a committed record lies between the position and the end, not only the marker of a
            transaction; raises alike.
    """

    assigned: Callable[[], Collection[TopicPartition]]
    outages: Callable[[], Mapping[str, bool]]
    lags: Callable[[], Sequence[PartitionLag]]
    holds_record: Callable[[PartitionLag], bool]


class Watchdog:
    """Looks ten times in `limit_s`."""

    def __init__(self, watched: Watched, clock: Clock, limit_s: float) -> None:
        self._watched = watched
        self._clock = clock
        self._limit_s = limit_s
        self._stages: dict[str, Stillness] = {}

    async def run(self) -> None:
        """Look until something is wrong.

        Raises:
            Stalled: a stage stands still.
        """
        while True:
            await asyncio.sleep(self._limit_s / LOOKS)
            await self.look()

    async def look(self) -> None:
        """Look once at each stage.

        Raises:
            Stalled: a stage has stood still for too long, though records wait.
        """
        try:
            lags = await asyncio.to_thread(self._watched.lags)
        except PolyvoxError as error:
            self._blind(error)
            return
        assigned = self._watched.assigned()
        for stage, outage in self._watched.outages().items():
            mine = [lag for lag in lags if lag.stage == stage and (lag.topic, lag.partition) in assigned]
            still = self._stages.setdefault(stage, Stillness(self._limit_s))
            if still.too_long(self._clock.monotonic_s(), mine, outage=outage):
                await self._confirm(stage, still, [lag for lag in mine if lag.records > 0])

    async def _confirm(self, stage: str, still: Stillness, lags: Sequence[PartitionLag]) -> None:
        """Raise when a record waits; the end of a log may hold nothing but a transaction's marker."""
        for lag in lags:
            try:
                waits = await asyncio.to_thread(self._watched.holds_record, lag)
            except PolyvoxError as error:
                self._blind(error)
                return
            if waits:
                where = f"{lag.topic}[{lag.partition}]"
                get_logger().error(Log.WORKER_STALLED, stage=stage, topic=lag.topic, partition=lag.partition)
                raise Stalled(
                    f"{stage}: nothing was committed for {self._limit_s:.0f} s while records wait in {where} at "
                    f"{lag.committed}: the consumer died, or a batch takes longer than POLYVOX_STALLED_AFTER_S; "
                    "start the worker again"
                )
        still.restart()

    def _blind(self, error: PolyvoxError) -> None:
        """What cannot be seen is no reason to end: Kafka away is an outage."""
        log = get_logger().info if isinstance(error, Transient) else get_logger().warning
        log(Log.WATCHDOG_BLIND, error=str(error))
        for still in self._stages.values():
            still.restart()


def kafka_lags(settings: Settings) -> list[PartitionLag]:
    """The lags of this role's group, of partitions in which something is due.

    Raises:
        BrokerUnavailable: the cluster cannot be reached.
    """
    # A group that starts at the end and has committed nothing owes nothing that is known.
    return [lag for lag in own_lag(settings) if lag.committed is not None or settings.start_at == "earliest"]


def holds_record(settings: Settings, lag: PartitionLag) -> bool:
    """Whether a record that the worker would read lies behind the position.

    Raises:
        BrokerUnavailable: the log did not tell in time, as behind an open transaction.
    """
    begin = max(lag.begin, lag.committed or 0)
    with stretches(settings) as log:
        return next(log.records(lag.topic, lag.partition, begin, lag.end), None) is not None
