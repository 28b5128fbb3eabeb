"""The watchdog: a worker that stands still while records wait ends, and no other."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.errors import BrokerUnavailable, Stalled
from worker.feeds.lag import PartitionLag
from worker.stream.records import TopicPartition
from worker.stream.watchdog import LOOKS, Stillness, Watchdog, Watched
from worker.timing import ManualClock

LIMIT_S = 600.0
STEP_S = LIMIT_S / LOOKS
ASSIGNED = [TopicPartition("posts.social", number) for number in range(2)]


def lag(committed: int | None, end: int, partition: int = 0, stage: str = "enrich") -> PartitionLag:
    return PartitionLag(stage, "posts.social", partition, committed, 0, end)


@dataclass
class Scene:
    """What the watchdog sees, and its looks."""

    lags: Sequence[PartitionLag] = ()
    outage: bool = False
    away: bool = False
    holds_record: bool = True
    assigned: list[TopicPartition] = field(default_factory=lambda: ASSIGNED)
    clock: ManualClock = field(default_factory=ManualClock)

    def __post_init__(self) -> None:
        watched = Watched(
            lambda: self.assigned, lambda: {"enrich": self.outage}, self._lags, lambda _: self.holds_record
        )
        self.watchdog = Watchdog(watched, self.clock, LIMIT_S)

    def _lags(self) -> Sequence[PartitionLag]:
        if self.away:
            raise BrokerUnavailable("away")
        return self.lags

    def look(self, times: int = 1) -> None:
        for _ in range(times):
            asyncio.run(self.watchdog.look())
            self.clock.advance(STEP_S)


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3), st.booleans()), max_size=40))
def test_it_ends_exactly_after_the_limit_without_progress(steps: list[tuple[int, int, bool]]) -> None:
    """Over any course of progress, new records and outages: too long is `limit_s` of lag and nothing else."""
    still, now_s, committed, end = Stillness(LIMIT_S), 0.0, 0, 1
    since_s: float | None = None
    before = -1
    for progress, new, outage in steps:
        committed, end = min(end, committed + progress), end + new
        moved = since_s is None or committed != before
        if outage or committed >= end or moved:
            since_s = now_s
        too_long = still.too_long(now_s, [lag(committed, end)], outage=outage)
        assert too_long == (now_s - since_s >= LIMIT_S and not outage and committed < end)
        before, now_s = committed, now_s + 150


def test_a_dead_consumer_ends_the_worker() -> None:
    """Records wait, nothing moves: the error comes with the limit and not before, and says where."""
    scene = Scene([lag(5, 9), lag(3, 3, partition=1)])
    scene.look(LOOKS)
    with pytest.raises(Stalled, match=r"posts\.social\[0\] at 5.*POLYVOX_STALLED_AFTER_S"):
        scene.look()


def test_a_consumer_that_never_started_ends_the_worker() -> None:
    """No position at all, and records from the beginning."""
    scene = Scene([lag(None, 9)])
    scene.look(LOOKS)
    with pytest.raises(Stalled):
        scene.look()


@pytest.mark.parametrize("lags", [[lag(9, 9)], [lag(None, 0)], []])
def test_an_idle_worker_stays(lags: list[PartitionLag]) -> None:
    """Nothing waits, or nothing is assigned: no reason to end, however long."""
    Scene(lags).look(5 * LOOKS)


def test_one_partition_may_wait_while_another_moves() -> None:
    """A partition behind the backlog of another is no dead consumer."""
    scene = Scene()
    for committed in range(5 * LOOKS):
        scene.lags = [lag(committed, 10_000), lag(0, 10, partition=1)]
        scene.look()


def test_an_outage_is_waited_out() -> None:
    """A server that is known to be away stops the count, and the count begins anew after it."""
    scene = Scene([lag(5, 9)], outage=True)
    scene.look(5 * LOOKS)
    scene.outage = False
    scene.look(LOOKS - 1)
    scene.away = True
    scene.look()
    scene.away = False
    scene.look(LOOKS)
    with pytest.raises(Stalled):
        scene.look()


def test_the_marker_of_a_transaction_is_no_record() -> None:
    """The log ends in an offset without a record: it looks like lag for ever, and is none."""
    Scene([lag(8, 9)], holds_record=False).look(5 * LOOKS)


def test_partitions_of_other_workers_do_not_count() -> None:
    """What another worker reads, or another stage, says nothing about this one."""
    Scene([lag(5, 9, partition=7), lag(5, 9, stage="aggregate")]).look(5 * LOOKS)


def test_a_new_assignment_starts_the_count() -> None:
    """Partitions that came a moment ago have not stood still for long."""
    scene = Scene([lag(5, 9)])
    scene.look(LOOKS)
    scene.lags = [lag(5, 9), lag(0, 4, partition=1)]
    scene.look(LOOKS)
    with pytest.raises(Stalled):
        scene.look()
