"""Alerts between a real broker, a real Redis and a worker that is killed: each id in the topic once."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any
from uuid import uuid4

import pytest
from typer.testing import CliRunner, Result

from tests.alert_samples import alert
from tests.alert_windows import AS_THEY_ARE, LIMITS, START_S, WIDTH_S, SimulatedWindows
from worker.alerts.compose import Composer
from worker.alerts.delivery import LEASE_S, Deliverer, Outlets
from worker.alerts.leader import Leader, LeaderParts, epoch_of
from worker.alerts.redis_store import RedisAlertStore
from worker.alerts.store import Progress, Settled
from worker.alerts.topic import KafkaAlertTopic
from worker.alerts.watched import Watcher
from worker.cli import app
from worker.errors import NotDelivered
from worker.feeds.alerts import AlertLog
from worker.feeds.connect import producer
from worker.feeds.stretch import stretches
from worker.feeds.topics import ensure_topics
from worker.local.stack import Addresses
from worker.opinion.client import Link
from worker.settings import Settings, settings
from worker.timing import ManualClock

pytestmark = pytest.mark.integration

SHIFT_AT, COUNT = 60, 62


@pytest.fixture
def configured(servers: Addresses, redis_url: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Settings]:
    """Settings with topics of this test alone, which exist, and an empty Redis."""
    name = f"alerts-{uuid4().hex[:8]}"
    for variable, value in {
        "KAFKA_BROKERS": servers.kafka,
        "KAFKA_IDEMPOTENCE": "false",
        "REDIS_URL": redis_url,
        "INPUT_TOPICS": f"{name}.social=social",
        "ENRICHED_TOPIC": f"{name}.enriched",
        "DEAD_LETTERS_TOPIC": f"{name}.dead",
        "ALERTS_TOPIC": f"{name}.alerts",
        "PARTITIONS": "1",
        "ALERT_SETTLING_S": "0",
        "ALERT_WEBHOOK_ATTEMPTS": "1",
    }.items():
        monkeypatch.setenv(f"POLYVOX_{variable}", value)
    settings.cache_clear()
    ensure_topics(settings())
    yield settings()
    settings.cache_clear()


class Killed(BaseException):
    """The process ends here."""


@dataclass
class Mortal:
    """What it wraps, dying after the n-th call of all that share `calls`."""

    inner: Any
    dies_at: int
    calls: list[str]

    def __getattr__(self, name: str) -> Any:
        method = getattr(self.inner, name)

        async def call(*arguments: Any, **named: Any) -> Any:
            answer = await method(*arguments, **named)
            self.calls.append(name)
            if len(self.calls) == self.dies_at:
                raise Killed
            return answer

        return call


async def live(configured: Settings, windows: SimulatedWindows, wrap: Callable[[Any], Any]) -> list[str]:
    """One life of a worker, with clients of its own: read and deliver until nothing is left; the ids it knows of."""
    store = RedisAlertStore.of(configured)
    token, watcher = uuid4().hex, Watcher(AS_THEY_ARE, LIMITS)
    clock = ManualClock(float(START_S + (COUNT + 1) * WIDTH_S))

    async def nothing() -> tuple[str, ...]:
        return ()

    parts = LeaderParts(
        store=wrap(store),
        windows=windows,
        watcher=watcher,
        compose=Composer(windows, watcher, list, clock).compose,
        clock=clock,
        waiting=nothing,
        outage=lambda _: False,
    )
    leader = Leader(parts, token, configured)
    deliverer = Deliverer(Outlets(wrap(store), wrap(KafkaAlertTopic(configured))), token, configured)
    try:
        assert await store.lead(token, LEASE_S)
        while await leader.read_settled() + await deliverer.deliver():
            pass
        return [each.alert_id for each in await store.history(100)]
    finally:
        await store.release(token)  # a killed one's lease would end by itself, in half a minute
        await store.aclose()


def in_topic(configured: Settings) -> Counter[str]:
    """How often each id stands in the topic."""
    with stretches(configured) as log:
        return Counter(
            json.loads(record.value or b"{}")["alert_id"]
            for span in log.spans([configured.alerts_topic])
            for record in log.records(span.topic, span.partition, span.begin, span.end)
        )


async def as_before_the_shift(configured: Settings, progress: Progress) -> None:
    """Nothing in Redis but how far the windows are read."""
    store = RedisAlertStore.of(configured)
    link = Link.of(configured)
    await link.redis.flushdb()
    await link.aclose()
    await store.lead("base", LEASE_S)
    base = Settled(
        epoch=epoch_of(configured), expected_s=None, next_s=progress.next_s or 0, detectors=progress.detectors
    )
    assert await store.settle("base", base) == ("stored", [])
    await store.release("base")
    await store.aclose()


async def read_until_the_shift(configured: Settings, windows: SimulatedWindows) -> Progress:
    await live(configured, windows, lambda inner: inner)
    store = RedisAlertStore.of(configured)
    progress = await store.progress(epoch_of(configured))
    await store.aclose()
    return progress


@pytest.mark.slow
def test_a_worker_that_dies_at_any_call_repeats_no_alert_and_misses_none(configured: Settings) -> None:
    """From the same windows on, a worker dies after its n-th call, for each n, and the next one goes on."""
    windows = SimulatedWindows(SHIFT_AT, SHIFT_AT)
    progress = asyncio.run(read_until_the_shift(configured, windows))
    windows.count = COUNT
    expected: Counter[str] = Counter()
    for dies_at in range(40):
        chosen = configured.model_copy(update={"alerts_topic": f"{configured.alerts_topic}.{dies_at}"})
        ensure_topics(chosen)
        asyncio.run(as_before_the_shift(chosen, progress))
        calls: list[str] = []
        try:
            asyncio.run(live(chosen, windows, partial(Mortal, dies_at=dies_at, calls=calls)))
        except Killed:
            raised = asyncio.run(live(chosen, windows, lambda inner: inner))
            assert Counter(raised) == in_topic(chosen) == expected, calls
        else:
            expected = expected or in_topic(chosen)  # the first one is not killed
            if dies_at:
                break
    assert sum(expected.values()) >= 1
    assert dies_at > 6


def test_the_topic_is_read_on_from_where_it_was_read(configured: Settings) -> None:
    """What others write is seen, what is no alert is passed over, and the order is that of writing."""
    log, other = AlertLog(configured), AlertLog(configured)
    assert log.alerts() == {}
    other.publish(alert(0))
    assert log.alerts() == {alert(0).alert_id: alert(0)}
    with producer(configured) as client:
        client.send(configured.alerts_topic, value=b"no alert").get(timeout=10)
    log.publish(alert(1))
    assert list(log.alerts()) == [alert(0).alert_id, alert(1).alert_id]


def run(*arguments: str) -> Result:
    """Run a command."""
    return CliRunner().invoke(app, list(arguments))


def test_alerts_are_listed_shown_and_sent_again(configured: Settings) -> None:
    """As a table and as JSON; an alert by the beginning of its id; undelivered ones until they are resent."""

    class Refusing:
        async def send(self, message_id: str, body: bytes) -> None:
            raise NotDelivered("example.org answered 500")

    async def main() -> None:
        store = RedisAlertStore(Link.of(configured), configured)
        await store.lead("t", LEASE_S)
        await store.settle("t", Settled(epoch="e", expected_s=None, next_s=1, alerts=[alert(0), alert(1, "fr")]))
        deliverer = Deliverer(Outlets(store, KafkaAlertTopic(configured), {"webhook:1": Refusing()}), "t", configured)
        while await deliverer.deliver():
            pass
        await store.release("t")
        await store.aclose()

    assert run("alerts", "list").stderr.strip() == "no alerts"
    assert run("alerts", "undelivered").exit_code == 0
    asyncio.run(main())
    listed = [json.loads(line) for line in run("alerts", "list", "--json").stdout.splitlines()]
    assert [each["alert_id"] for each in listed] == [alert(1, "fr").alert_id, alert(0).alert_id]
    table = run("alerts", "list").stdout
    assert alert(0).alert_id[:12] in table
    assert "de / medtop:04000000" in table
    shown = run("alerts", "show", alert(0).alert_id[:10])
    assert shown.exit_code == 0
    for part in ("sentiment", "-0.20", "strike", "post-1", "99.8%"):
        assert part in shown.stdout
    assert json.loads(run("alerts", "show", alert(0).alert_id, "--json").stdout)["alert_id"] == alert(0).alert_id
    assert run("alerts", "show", "zz").exit_code == 1
    undelivered = run("alerts", "undelivered", "--json")
    assert (undelivered.exit_code, len(undelivered.stdout.splitlines())) == (1, 2)
    assert "answered 500" in run("alerts", "undelivered").stdout
    assert run("alerts", "resend", alert(0).alert_id).exit_code == 0
    assert run("alerts", "resend", alert(0).alert_id).exit_code == 1
    assert len(run("alerts", "undelivered", "--json").stdout.splitlines()) == 1
