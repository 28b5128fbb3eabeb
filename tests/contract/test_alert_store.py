"""What every alert store promises; run over the one in memory and the one in Redis."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass

import pytest

from tests.alert_samples import alert
from worker.alert_event import Alert, decode_alert
from worker.alerts.memory import MemoryAlertStore
from worker.alerts.redis_store import RedisAlertStore
from worker.alerts.store import KAFKA, AlertStore, Progress, Settled
from worker.opinion.client import Link
from worker.settings import Settings
from worker.timing import ManualClock

LEASE_S = 600.0
KEPT = 3


@dataclass(frozen=True)
class Opened:
    """A store, its clock, and what was heard on its pub/sub channels so far."""

    store: AlertStore
    clock: ManualClock
    heard: Callable[[], Awaitable[list[Alert]]]


Opens = Callable[[], AbstractAsyncContextManager[Opened]]


@asynccontextmanager
async def in_memory() -> AsyncIterator[Opened]:
    clock = ManualClock()
    store = MemoryAlertStore(clock, kept=KEPT)

    async def heard() -> list[Alert]:
        return [found for _, found in store.published]

    yield Opened(store, clock, heard)


def in_redis(url: str) -> Opens:
    @asynccontextmanager
    async def opens() -> AsyncIterator[Opened]:
        link, clock = Link(url, 5.0), ManualClock()
        store = RedisAlertStore(link, Settings(alert_history=KEPT), clock)
        listener = link.redis.pubsub(ignore_subscribe_messages=True)
        await listener.subscribe("listened")
        await listener.get_message(timeout=5.0)
        found: list[Alert] = []

        async def heard() -> list[Alert]:
            while (message := await listener.get_message(timeout=0.2)) is not None:
                found.append(decode_alert(message["data"]))
            return found

        try:
            yield Opened(store, clock, heard)
        finally:
            await listener.aclose()
            await store.aclose()

    return opens


@pytest.fixture(params=["memory", pytest.param("redis", marks=pytest.mark.integration)])
def opens(request: pytest.FixtureRequest) -> Opens:
    """How to open the store under test, empty."""
    return in_memory if request.param == "memory" else in_redis(request.getfixturevalue("redis_url"))


def run(opens: Opens, body: Callable[[Opened], Awaitable[None]]) -> None:
    async def main() -> None:
        async with opens() as opened:
            await body(opened)

    asyncio.run(main())


def settled(number: int, *alerts: Alert, detectors: dict[str, str] | None = None) -> Settled:
    """Window `number` was read; windows are a second wide."""
    return Settled(
        epoch="e1",
        expected_s=number or None,
        next_s=number + 1,
        detectors=detectors or {},
        alerts=alerts,
    )


def test_one_worker_leads_at_a_time(opens: Opens) -> None:
    """The lease is one worker's until it gives it back; keeping it is no second taking."""

    async def body(opened: Opened) -> None:
        store = opened.store
        assert await store.lead("a", LEASE_S)
        assert not await store.lead("b", LEASE_S)
        await store.release("b")
        assert await store.lead("a", LEASE_S)
        await store.release("a")
        assert await store.lead("b", LEASE_S)

    run(opens, body)


def test_a_lease_that_is_not_kept_ends(opens: Opens) -> None:
    """A dead leader does not stop the next one. Redis counts with its own clock, so the lease is a short one."""

    async def body(opened: Opened) -> None:
        assert await opened.store.lead("a", 0.001)
        opened.clock.advance(0.002)
        for _ in range(1000):
            if await opened.store.lead("b", LEASE_S):
                return
        pytest.fail("the lease did not end")

    run(opens, body)


def test_whoever_lost_the_lease_writes_nothing(opens: Opens) -> None:
    """A leader that wakes up after another took over changes neither windows nor deliveries."""

    async def body(opened: Opened) -> None:
        store = opened.store
        await store.lead("a", LEASE_S)
        await store.settle("a", settled(0, alert()))
        [delivery] = await store.due(10)
        assert await store.settle("z", settled(1, alert(1))) == ("not_leader", [])
        assert not await store.sent("z", delivery, ["webhook:1"], "listened")
        assert not await store.failed("z", delivery, 60.0)
        assert not await store.give_up("z", delivery, "why")
        assert await store.progress("e1") == Progress(1, {})
        assert (await store.due(10), await store.undelivered(), await opened.heard()) == ([delivery], [], [])

    run(opens, body)


def test_a_window_is_stored_whole_and_once(opens: Opens) -> None:
    """Next window, detectors and alerts change together; the same call again, its reply lost, changes nothing."""

    async def body(opened: Opened) -> None:
        store = opened.store
        await store.lead("a", LEASE_S)
        first = settled(0, alert(), detectors={"x": "1", "y": "2"})
        assert await store.settle("a", first) == ("stored", [alert().alert_id])
        assert await store.settle("a", first) == ("moved", [])
        assert await store.settle("a", settled(1, alert(), detectors={"x": "3", "y": ""})) == ("stored", [])
        assert await store.progress("e1") == Progress(2, {"x": "3"})
        assert await store.history(10) == [alert()]
        assert [(each.channel, each.alert) for each in await store.due(10)] == [(KAFKA, alert())]

    run(opens, body)


def test_other_detectors_begin_anew(opens: Opens) -> None:
    """States of another epoch are neither read nor kept."""

    async def body(opened: Opened) -> None:
        store = opened.store
        await store.lead("a", LEASE_S)
        await store.settle("a", settled(0, detectors={"x": "1"}))
        assert await store.progress("e2") == Progress(None, {})
        other = Settled(epoch="e2", expected_s=None, next_s=50, detectors={"y": "2"})
        assert (await store.settle("a", other))[0] == "stored"
        assert await store.progress("e2") == Progress(50, {"y": "2"})
        assert await store.progress("e1") == Progress(None, {})

    run(opens, body)


def test_what_is_sent_goes_on_to_the_other_channels(opens: Opens) -> None:
    """One step: no longer due for Kafka, due for each webhook, published once."""

    async def body(opened: Opened) -> None:
        store = opened.store
        await store.lead("a", LEASE_S)
        await store.settle("a", settled(0, alert()))
        [delivery] = await store.due(10)
        for _ in range(2):
            assert await store.sent("a", delivery, ["webhook:1", "webhook:2"], "listened")
        assert {each.channel for each in await store.due(10)} == {"webhook:1", "webhook:2"}
        assert await opened.heard() == [alert()]
        for each in await store.due(10):
            await store.sent("a", each)
        assert await store.due(10) == []
        assert await opened.heard() == [alert()]

    run(opens, body)


def test_a_failed_delivery_waits_and_counts(opens: Opens) -> None:
    """It is due again when its time has come, and knows how often it failed."""

    async def body(opened: Opened) -> None:
        store = opened.store
        await store.lead("a", LEASE_S)
        await store.settle("a", settled(0, alert()))
        for attempt in range(3):
            [delivery] = await store.due(10)
            assert delivery.attempts == attempt
            await store.failed("a", delivery, 60.0)
            assert await store.due(10) == []
            opened.clock.advance(60.0)
            await store.lead("a", LEASE_S)

    run(opens, body)


def test_what_is_given_up_can_be_sent_again(opens: Opens) -> None:
    """It is listed with its reason; resending makes it due with no failure counted, and takes it off the list."""

    async def body(opened: Opened) -> None:
        store = opened.store
        await store.lead("a", LEASE_S)
        await store.settle("a", settled(0, alert(0), alert(1)))
        for delivery in await store.due(10):
            await store.failed("a", delivery, 0.0)
        for delivery in await store.due(10):
            await store.give_up("a", delivery, "example.org answered 500")
        listed = await store.undelivered()
        assert {(each.alert_id, each.channel, each.attempts, each.error) for each in listed} == {
            (alert(number).alert_id, KAFKA, 2, "example.org answered 500") for number in (0, 1)
        }
        assert await store.due(10) == []
        assert await store.resend(alert(1).alert_id) == 1
        assert await store.resend("unknown") == 0
        assert [(each.alert, each.attempts) for each in await store.due(10)] == [(alert(1), 0)]
        assert [each.alert_id for each in await store.undelivered()] == [alert(0).alert_id]

    run(opens, body)


def test_history_is_bounded_and_loses_nothing_that_waits(opens: Opens) -> None:
    """The newest windows first; an old alert goes when it is delivered, not before."""

    async def body(opened: Opened) -> None:
        store = opened.store
        await store.lead("a", LEASE_S)
        for number in range(KEPT + 2):
            await store.settle("a", settled(number, alert(number)))
        assert len(await store.due(10)) == KEPT + 2
        for delivery in await store.due(10):
            await store.sent("a", delivery)
        await store.settle("a", settled(KEPT + 2, alert(KEPT + 2)))
        assert await store.history(10) == [alert(number) for number in (KEPT + 2, KEPT + 1, KEPT)]
        assert await store.history(1) == [alert(KEPT + 2)]

    run(opens, body)
