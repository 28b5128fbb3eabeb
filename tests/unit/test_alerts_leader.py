"""The leader: each settled window once, the same alerts whoever dies when, and none for what is no shift."""

from __future__ import annotations

import asyncio
import copy
from collections import Counter
from collections.abc import Callable, Collection
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.alert_windows import AS_THEY_ARE, LIMITS, START_S, WIDTH_S, SimulatedWindows
from worker.alerts.compose import Composer
from worker.alerts.delivery import LEASE_S, Deliverer, Outlets
from worker.alerts.leader import AT_ONCE, LOOK_AGAIN_S, Leader, LeaderParts
from worker.alerts.memory import MemoryAlertStore, MemoryTopic
from worker.alerts.watched import Watched, Watcher
from worker.alerts.windows import IDLE_MS, watermark_ms
from worker.opinion.shifts.words import Span
from worker.settings import Settings
from worker.timing import ManualClock

SETTINGS = Settings(alert_settling_s=0)
SHIFT_AT, COUNT = 60, 66
SHIFT = (START_S + SHIFT_AT * WIDTH_S, START_S + COUNT * WIDTH_S)


class Killed(BaseException):
    """The process ends here."""


@dataclass
class Mortal:
    """What it wraps, dying before or after the n-th call of all that share `calls`."""

    inner: Any
    dies_at: int
    calls: list[str]
    before: bool

    def __getattr__(self, name: str) -> Any:
        method = getattr(self.inner, name)

        async def call(*arguments: Any, **named: Any) -> Any:
            self.calls.append(name)
            last = len(self.calls) == self.dies_at
            if last and self.before:
                raise Killed
            answer = await method(*arguments, **named)
            if last:
                raise Killed
            return answer

        return call


@dataclass
class World:
    """What outlives a worker, and the windows it reads."""

    windows: SimulatedWindows
    clock: ManualClock = field(default_factory=lambda: ManualClock(START_S + 1000.0 * WIDTH_S / 2))
    topic: MemoryTopic = field(default_factory=MemoryTopic)
    waiting: Collection[str] = ()
    outages: Collection[Span] = ()
    looks: int = 0
    store: MemoryAlertStore = field(init=False)

    def __post_init__(self) -> None:
        self.store = MemoryAlertStore(self.clock)

    def leader(self, token: str, wrap: Callable[[Any], Any] = lambda inner: inner) -> Leader:
        watcher = Watcher(AS_THEY_ARE, LIMITS)

        async def waiting() -> Collection[str]:
            self.looks += 1
            return self.waiting

        parts = LeaderParts(
            store=wrap(self.store),
            windows=wrap(self.windows),
            watcher=watcher,
            compose=Composer(self.windows, watcher, list, self.clock).compose,
            clock=self.clock,
            waiting=waiting,
            outage=lambda span: any(each.start_s < span.end_s and span.start_s < each.end_s for each in self.outages),
        )
        return Leader(parts, token, SETTINGS)

    async def work(self, token: str, wrap: Callable[[Any], Any] = lambda inner: inner) -> None:
        """One life of a worker: lead, read and deliver in turn until nothing is left to do."""
        leader = self.leader(token, wrap)
        deliverer = Deliverer(Outlets(wrap(self.store), wrap(self.topic)), token, SETTINGS)
        while await self.store.lead(token, LEASE_S):
            if not await leader.read_settled() + await deliverer.deliver():
                break

    def live(self, token: str = "first") -> World:
        asyncio.run(self.work(token))
        return self

    @property
    def raised(self) -> dict[str, tuple[str, float]]:
        """Id to key and window of every alert in the store."""
        return {
            each.alert_id: (each.key.name, each.window_start.timestamp() - START_S)
            for each in self.store.alerts.values()
        }


def shifted(count: int = COUNT) -> SimulatedWindows:
    return SimulatedWindows(count, SHIFT_AT)


def test_a_shift_is_alerted_with_its_cause() -> None:
    """The key that dropped, soon, and its sentiment as the first cause; the other languages are left alone."""
    world = World(shifted()).live()
    found = next(each for each in world.store.alerts.values() if each.key.kind == "language_topic")
    assert (found.key.language, found.direction) == ("de", "down")
    assert SHIFT[0] <= found.window_start.timestamp() < SHIFT[1]
    assert found.contributions.ranked()[0][0] == "sentiment"
    assert found.contributions.total == pytest.approx(found.moved, abs=1e-9)
    assert found.after.high < found.before.value
    assert found.model_versions == ["a"]
    assert {each.key.language for each in world.store.alerts.values()} <= {"de", None}
    assert [each.alert_id for each in world.topic.written] == list(world.raised)


def test_without_a_shift_nothing_is_raised() -> None:
    """The same posts without the drop."""
    assert World(SimulatedWindows(COUNT)).live().raised == {}


@pytest.mark.parametrize("before", [True, False], ids=["before", "after"])
def test_a_kill_at_any_call_repeats_no_alert_and_misses_none(before: bool) -> None:
    """Reading, storing and delivering in the last windows, killed at each call in turn: the same alerts, each once."""
    windows = shifted()
    expected = World(windows).live()
    assert expected.raised
    windows.count = SHIFT_AT
    until_shift = World(windows).live()
    windows.count = COUNT
    for dies_at in range(1, 80):
        world, calls = World(windows, clock=copy.copy(until_shift.clock)), list[str]()
        world.store = replace(copy.deepcopy(until_shift.store), clock=world.clock)
        try:
            asyncio.run(world.work("first", partial(Mortal, dies_at=dies_at, calls=calls, before=before)))
        except Killed:
            world.clock.advance(LEASE_S)
            world.live("next")
        else:
            assert dies_at > 20
            return
        assert world.raised == expected.raised, dies_at
        assert world.store.stored == expected.store.stored, dies_at
        assert Counter(each.alert_id for each in world.topic.written) == Counter(list(expected.raised)), dies_at
    pytest.fail("there are more calls than were tried")


def test_a_rebuilt_store_raises_the_same_alerts_and_repeats_none() -> None:
    """Everything is read again, and the topic holds each alert once."""
    world = World(shifted()).live()
    first, states = world.raised, world.store.stored
    world.store = MemoryAlertStore(world.clock)
    world.live()
    assert (world.raised, world.store.stored) == (first, states)
    assert Counter(each.alert_id for each in world.topic.written) == Counter(list(first))


def test_a_store_that_rolled_back_under_a_leader_is_read_again() -> None:
    """It notices at its next write, and goes on from what is stored."""
    windows = shifted(SHIFT_AT)
    world = World(windows)
    expected = World(shifted()).live()

    async def main() -> None:
        await world.work("first")
        old = MemoryAlertStore(world.clock)
        old.epoch, old.stored = world.store.epoch, world.store.stored
        windows.count = COUNT
        leader = world.leader("first", lambda inner: Switch(world) if inner is world.store else inner)
        await leader.read_settled()
        world.store = old
        await old.lead("first", LEASE_S)
        windows.count = COUNT + 1
        assert await leader.read_settled() == 0
        assert await leader.read_settled() == COUNT + 1 - SHIFT_AT

    asyncio.run(main())
    assert world.raised == expected.raised


@dataclass
class Switch:
    """The store of a world, whichever it is now."""

    world: World

    def __getattr__(self, name: str) -> Any:
        return getattr(self.world.store, name)


def test_two_leaders_do_not_both_store_a_window() -> None:
    """The one that was replaced stores nothing, and reads what the other stored before it goes on."""
    world = World(shifted(10))

    async def main() -> None:
        await world.store.lead("old", LEASE_S)
        old = world.leader("old")
        await old.read_settled()
        world.clock.advance(LEASE_S)
        world.windows.count = 20
        await world.work("new")
        world.windows.count = 21
        assert await old.read_settled() == 0
        assert world.store.stored.next_s == START_S + 20 * WIDTH_S
        world.clock.advance(LEASE_S)
        await world.store.lead("old", LEASE_S)
        assert await old.read_settled() == 1

    asyncio.run(main())


def test_records_that_wait_hold_the_windows_back() -> None:
    """While a server is away everything looks idle; a window is not read before its posts are counted."""
    world = World(shifted(10), waiting={"topic:0"}).live()
    assert world.store.stored.next_s is None
    world.waiting = ()
    assert world.live().store.stored.next_s == START_S + 10 * WIDTH_S


def test_while_records_wait_kafka_is_asked_now_and_then() -> None:
    """Each look costs as much as hundreds of posts, just when there are many; the next tells what is free by then."""
    world = World(shifted(10), waiting={"topic:0"})

    async def main() -> list[int]:
        await world.store.lead("first", 10 * LOOK_AGAIN_S)
        leader = world.leader("first")
        read = [await leader.read_settled() for _ in range(3)]
        world.waiting = ()
        read.append(await leader.read_settled())
        assert world.looks == 1
        world.clock.advance(LOOK_AGAIN_S)
        return [*read, await leader.read_settled()]

    assert asyncio.run(main()) == [0, 0, 0, 0, 10]


def test_a_long_backlog_is_read_in_pieces() -> None:
    """Others get their turn, and nothing is skipped."""
    world = World(SimulatedWindows(AT_ONCE + 5))

    async def main() -> list[int]:
        await world.store.lead("first", LEASE_S)
        leader = world.leader("first")
        return [await leader.read_settled() for _ in range(3)]

    assert asyncio.run(main()) == [AT_ONCE, 5, 0]


def test_another_model_version_raises_nothing() -> None:
    """It shifts the index by its own errors: the level is learned anew, however far it moved."""
    windows = SimulatedWindows(COUNT, shift_at=SHIFT_AT, model_at=SHIFT_AT)
    assert World(windows).live().raised == {}


@pytest.mark.parametrize("kind", ["outage", "incomplete"])
def test_windows_that_are_not_whole_raise_nothing(kind: str) -> None:
    """An outage, or too few analysed posts, while the shift lasts."""
    windows = shifted()
    world = World(windows)
    if kind == "outage":
        world.outages = [Span(*SHIFT)]
    else:
        windows.incomplete = range(SHIFT_AT, COUNT)
    assert world.live().raised == {}
    [state] = {tuple(watched.state.annotations) for watched in states_of(world)}
    assert state == (kind,)


def states_of(world: World) -> list[Any]:
    return [msgspec.json.decode(state, type=Watched) for state in world.store.stored.detectors.values()]


SHARDS = st.dictionaries(
    st.sampled_from("abcd"),
    st.fixed_dictionaries({"newest_event_ms": st.integers(0, 10**6), "applied_ms": st.integers(0, 10**6)}),
    min_size=1,
)


@given(SHARDS, st.sets(st.sampled_from("abcd")), st.integers(10**6, 10**6 + 2 * IDLE_MS))
def test_the_watermark_never_passes_a_shard_that_may_still_speak(
    totals: dict[str, dict[str, int]], waiting: set[str], now_ms: int
) -> None:
    """Not one with records that wait, nor one that was busy a moment ago; more that waits never moves it on."""
    found = watermark_ms(totals, waiting, now_ms)
    if waiting - totals.keys():
        assert found is None
        return
    assert found is not None
    for shard, counts in totals.items():
        if shard in waiting or now_ms - counts["applied_ms"] <= IDLE_MS:
            assert found <= counts["newest_event_ms"]
    assert found <= (watermark_ms(totals, (), now_ms) or 0)


def test_nothing_is_known_without_events() -> None:
    """An empty database has no watermark."""
    assert watermark_ms({}, (), 0) is None
    assert watermark_ms({"a": {"applied_ms": 1}}, (), 0) is None
