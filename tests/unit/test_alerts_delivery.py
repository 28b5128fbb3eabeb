"""Delivery: whatever dies when, each alert is in the topic once and published once, and no webhook misses it."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.alert_samples import alert
from worker.alerts.delivery import LEASE_S, RETRY_BASE_S, RETRY_LIMIT_S, Deliverer, Outlets, again_in_s
from worker.alerts.memory import MemoryAlertStore, MemoryTopic
from worker.alerts.store import Settled
from worker.errors import BrokerUnavailable, NotDelivered
from worker.feeds.alerts import DELIVERY_MS
from worker.feeds.connect import REQUEST_TIMEOUT_MS
from worker.settings import Settings
from worker.timing import ManualClock

ALERTS = [alert(0), alert(10), alert(10, "fr")]
SETTINGS = Settings(alert_webhook_attempts=3)


class Killed(BaseException):
    """The process ends here."""


@dataclass
class Mortal:
    """What it wraps, dying after (or before) the n-th call of all that share `calls`."""

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
class Receiver:
    """A webhook that fails some times, then takes everything."""

    failures: int = 0
    for_good: bool = False
    taken: list[str] = field(default_factory=list)

    async def send(self, message_id: str, body: bytes) -> None:
        if self.failures > 0:
            self.failures -= 1
            raise NotDelivered("example.org answered 500", for_good=self.for_good)
        self.taken.append(message_id)


@dataclass
class World:
    """What outlives a worker."""

    clock: ManualClock = field(default_factory=ManualClock)
    store: MemoryAlertStore = field(init=False)
    topic: MemoryTopic = field(default_factory=MemoryTopic)
    receiver: Receiver = field(default_factory=Receiver)

    def __post_init__(self) -> None:
        self.store = MemoryAlertStore(self.clock)

    async def raise_alerts(self) -> None:
        """Store the alerts as the leader does."""
        await self.store.lead("first", LEASE_S)
        await self.store.settle("first", Settled(epoch="e", expected_s=None, next_s=1, alerts=ALERTS))

    async def work(self, token: str, wrap: Callable[[Any], Any] = lambda inner: inner) -> None:
        """One life of a worker: deliver until nothing is due."""
        outlets = Outlets(wrap(self.store), wrap(self.topic), {"webhook:1": wrap(self.receiver)})
        deliverer = Deliverer(outlets, token, SETTINGS)
        if await outlets.store.lead(token, LEASE_S):
            while await deliverer.deliver():
                pass

    def ids(self) -> Counter[str]:
        return Counter(each.alert_id for each in self.topic.written)


def life_and_death(dies_at: int, *, before: bool) -> tuple[World, int]:
    """A worker that dies at some call, and the next one; the calls of the first."""
    world, calls = World(), list[str]()

    async def main() -> None:
        await world.raise_alerts()
        await world.store.release("first")
        try:
            await world.work("dies", lambda inner: Mortal(inner, dies_at, calls, before))
        except Killed:
            await world.work("impatient")
            world.clock.advance(LEASE_S)
            await world.work("next")

    asyncio.run(main())
    return world, len(calls)


@pytest.mark.parametrize("before", [True, False], ids=["before", "after"])
def test_a_kill_at_any_call_repeats_none_and_misses_none(before: bool) -> None:
    """In the topic and on pub/sub each alert once, in the order of windows; a webhook repeats one id at most."""
    once = Counter({each.alert_id: 1 for each in ALERTS})
    _, calls = life_and_death(0, before=before)
    assert calls > 15
    for dies_at in range(1, calls + 1):
        world, _ = life_and_death(dies_at, before=before)
        assert world.ids() == once, dies_at
        assert [each.window_end for each in world.topic.written] == sorted(each.window_end for each in ALERTS)
        assert Counter(each.alert_id for _, each in world.store.published) == once, dies_at
        taken = Counter(world.receiver.taken)
        assert set(taken) == set(once), dies_at
        assert sum(taken.values()) <= len(ALERTS) + 1
        assert not world.store.due_ms


def test_redis_that_rolled_back_repeats_nothing_in_the_topic() -> None:
    """The same windows raise the same ids, and these are in the topic already."""
    world = World()

    async def main() -> None:
        await world.raise_alerts()
        await world.work("first")
        world.store = MemoryAlertStore(world.clock)
        await world.raise_alerts()
        await world.work("first")

    asyncio.run(main())
    assert world.ids() == Counter({each.alert_id: 1 for each in ALERTS})


def test_a_shift_that_is_decided_in_another_window_after_a_rollback_is_no_second_alert() -> None:
    """Late posts let the detector speak an hour later than before; the topic knows that the key has spoken."""
    world = World()

    async def main() -> None:
        await world.raise_alerts()
        await world.work("first")
        world.store = MemoryAlertStore(world.clock)
        await world.store.lead("first", LEASE_S)
        again = [alert(1), alert(1, direction="up"), alert(30)]
        await world.store.settle("first", Settled(epoch="e", expected_s=None, next_s=1, alerts=again))
        await world.work("first")

    asyncio.run(main())
    written = [each.alert_id for each in world.topic.written[len(ALERTS) :]]
    assert written == [alert(1, direction="up").alert_id, alert(30).alert_id]
    assert [each.alert_id for _, each in world.store.published] == written
    assert not world.store.due_ms


def test_a_leader_that_was_replaced_writes_nothing() -> None:
    """It asks before each record; the lease outlasts the time that writing may take."""
    world = World()

    async def main() -> None:
        await world.raise_alerts()
        world.clock.advance(LEASE_S)
        await world.store.lead("second", LEASE_S)
        await Deliverer(Outlets(world.store, world.topic), "first", SETTINGS).deliver()

    asyncio.run(main())
    assert world.topic.written == []
    assert LEASE_S * 1000 > DELIVERY_MS + REQUEST_TIMEOUT_MS


def test_a_webhook_is_tried_again_until_it_takes_the_alert() -> None:
    """Kafka does not wait for it."""
    world = World(receiver=Receiver(failures=2 * len(ALERTS)))

    async def main() -> None:
        await world.raise_alerts()
        for _ in range(4):
            await world.work("first")
            world.clock.advance(RETRY_LIMIT_S)
            world.store.held_until_ms = world.clock.unix_ms() + 1

    asyncio.run(main())
    assert len(world.topic.written) == len(ALERTS)
    assert sorted(world.receiver.taken) == sorted(each.alert_id for each in ALERTS)
    assert world.store.given_up == []


@pytest.mark.parametrize(("for_good", "attempts"), [(False, SETTINGS.alert_webhook_attempts), (True, 1)])
def test_what_never_gets_through_is_listed(for_good: bool, attempts: int) -> None:
    """After the last attempt, or at once when the receiver wants no more; resending tries again."""
    world = World(receiver=Receiver(failures=len(ALERTS) * attempts, for_good=for_good))

    async def main() -> None:
        await world.raise_alerts()
        for _ in range(attempts):
            await world.work("first")
            world.clock.advance(RETRY_LIMIT_S)
            world.store.held_until_ms = world.clock.unix_ms() + 1
        assert {each.alert_id for each in world.store.given_up} == {each.alert_id for each in ALERTS}
        assert {each.attempts for each in world.store.given_up} == {attempts}
        await world.store.resend(ALERTS[0].alert_id)
        await world.work("first")

    asyncio.run(main())
    assert world.receiver.taken == [ALERTS[0].alert_id]


def test_a_webhook_that_was_taken_out_of_the_settings_is_not_called() -> None:
    """Its deliveries are listed as undelivered, with the reason."""
    world = World()

    async def main() -> None:
        await world.raise_alerts()
        [*_, last] = await world.store.due(10)
        await world.store.sent("first", last, ["webhook:old"])
        await world.work("first")

    asyncio.run(main())
    [entry] = world.store.given_up
    assert (entry.channel, "POLYVOX_ALERT_WEBHOOKS" in entry.error) == ("webhook:old", True)


def test_a_broker_that_is_away_loses_nothing() -> None:
    """The error reaches the leader, which tries again; nothing goes to pub/sub or webhooks before the topic has it."""
    world = World()

    class Away(MemoryTopic):
        async def publish(self, alert: object) -> None:
            raise BrokerUnavailable("Kafka is away")

    async def main() -> None:
        await world.raise_alerts()
        with pytest.raises(BrokerUnavailable):
            await Deliverer(Outlets(world.store, Away(), {"webhook:1": world.receiver}), "first", SETTINGS).deliver()
        assert (world.store.published, world.receiver.taken) == ([], [])
        await world.work("first")

    asyncio.run(main())
    assert world.ids() == Counter({each.alert_id: 1 for each in ALERTS})


@given(st.integers(0, 100))
def test_waiting_grows_and_never_shrinks_to_nothing(attempts: int) -> None:
    """Between half and all of a doubling time."""
    ceiling_s = min(RETRY_LIMIT_S, RETRY_BASE_S * 2.0**attempts)
    assert ceiling_s / 2 <= again_in_s(attempts) <= ceiling_s
