"""The loops of the alerts in a worker: one leads, trouble is waited out, and a bug is not."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.alert_windows import AS_THEY_ARE, LIMITS, START_S, WIDTH_S, SimulatedWindows
from tests.polling import DEADLINE_S, until
from worker.alerts.compose import Composer
from worker.alerts.delivery import Outlets
from worker.alerts.leader import LeaderParts
from worker.alerts.memory import MemoryAlertStore, MemoryTopic
from worker.alerts.watched import Watcher
from worker.errors import StoreUnavailable
from worker.opinion.shifts.words import Span
from worker.settings import Settings
from worker.stream.backlog import JOINED_S, Outages
from worker.stream.shifts import ShiftParts, Shifts
from worker.timing import ManualClock

COUNT = 62


class World:
    """What workers share."""

    def __init__(self, store_type: type[MemoryAlertStore] = MemoryAlertStore) -> None:
        self.clock = ManualClock(float(START_S + COUNT * WIDTH_S))
        self.store = store_type(self.clock)
        self.topic = MemoryTopic()
        self.windows = SimulatedWindows(COUNT, shift_at=COUNT - 2)
        self.closed: list[str] = []

    def worker(self) -> Shifts:
        watcher = Watcher(AS_THEY_ARE, LIMITS)

        async def nothing() -> tuple[str, ...]:
            return ()

        async def close() -> None:
            self.closed.append("closed")

        leader = LeaderParts(
            store=self.store,
            windows=self.windows,
            watcher=watcher,
            compose=Composer(self.windows, watcher, list, self.clock).compose,
            clock=self.clock,
            waiting=nothing,
            outage=lambda _: False,
        )
        outages = Outages(lambda: False, self.clock)
        parts = ShiftParts(leader, Outlets(self.store, self.topic), outages, (close,))
        return Shifts(parts, Settings(alert_settling_s=0))


def run(body: Callable[[], Awaitable[None]]) -> None:
    asyncio.run(body())  # type: ignore[arg-type]


def test_a_worker_leads_reads_and_delivers() -> None:
    """And lets another one lead at once when it stops."""
    world = World()

    async def body() -> None:
        worker = world.worker()
        worker.start()
        await until(lambda: world.topic.written)
        await worker.aclose()
        assert (world.store.holder, world.closed) == (None, ["closed"])
        assert world.store.stored.next_s == START_S + COUNT * WIDTH_S

    run(body)


def test_of_two_workers_one_leads() -> None:
    """The other one takes over, and repeats nothing."""
    world = World()

    async def body() -> None:
        first, second = world.worker(), world.worker()
        first.start()
        await until(lambda: world.store.holder)
        holder = world.store.holder
        second.start()
        await until(lambda: world.topic.written)
        assert world.store.holder == holder
        await first.aclose()
        written = list(world.topic.written)
        world.windows.count += 1
        await until(lambda: world.store.stored.next_s == START_S + world.windows.count * WIDTH_S)
        assert world.store.holder not in (None, holder)
        assert [each.alert_id for each in world.topic.written[: len(written)]] == [each.alert_id for each in written]
        assert len({each.alert_id for each in world.topic.written}) == len(world.topic.written)
        await second.aclose()

    run(body)


class Away(MemoryAlertStore):
    """Redis is away at the first calls."""

    calls = 0

    async def lead(self, token: str, lease_s: float) -> bool:
        self.calls += 1
        if self.calls == 1:
            raise StoreUnavailable("Redis is away")
        return await super().lead(token, lease_s)


class Broken(MemoryAlertStore):
    """A bug."""

    async def progress(self, epoch: str) -> object:  # type: ignore[override]
        raise KeyError("a bug")


def test_a_server_that_is_away_is_waited_for() -> None:
    """The worker goes on, and so do its records."""
    world = World(Away)

    async def body() -> None:
        worker = world.worker()
        worker.start()
        await until(lambda: world.topic.written)
        assert not worker.failed.done()
        await worker.aclose()

    run(body)


def test_an_unexpected_error_reaches_the_process() -> None:
    """It must end there, loudly."""
    world = World(Broken)

    async def body() -> None:
        worker = world.worker()
        worker.start()
        with pytest.raises(KeyError, match="a bug"):
            await asyncio.wait_for(worker.failed, DEADLINE_S)
        await worker.aclose()

    run(body)


@given(st.lists(st.booleans(), min_size=1, max_size=60), st.integers(0, 60), st.integers(1, 60))
def test_an_outage_is_remembered_by_the_time_it_was_seen(away: list[bool], start_s: int, length_s: int) -> None:
    """Looked at every second; short gaps between outages belong to them."""
    clock = ManualClock(1000.0)
    now = iter(away)
    outages = Outages(lambda: next(now), clock)
    for _ in away:
        outages.look()
        clock.advance(1.0)
    span = Span(1000 + start_s, 1000 + start_s + length_s)
    seen = {1000 + at_s for at_s, was_away in enumerate(away) if was_away}
    if any(span.start_s <= at_s < span.end_s for at_s in seen):
        assert outages.during(span)
    if not any(span.start_s - JOINED_S <= at_s < span.end_s + JOINED_S for at_s in seen):
        assert not outages.during(span)
