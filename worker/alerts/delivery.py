"""From the outbox to Kafka, pub/sub and webhooks; each step may be the last one before a kill.

The steps of one alert, and what a kill after each leaves:

1. It lies in the outbox, due for Kafka: stored together with the window that raised it.
2. The topic is read for its id, and it is written there if it is missing. Killed here, the next leader finds it there.
3. In one script it is published on pub/sub, due for each webhook and no longer due for Kafka.
4. A webhook has it. Killed here, that webhook gets it again, with the same `webhook-id`: a receiver that confirmed and
   a receiver that never heard of it look the same from here, and missing an alert is the worse of the two.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field

import msgspec

from worker.alert_event import Alert
from worker.alerts.store import KAFKA, AlertStore, Delivery
from worker.alerts.topic import AlertTopic
from worker.alerts.webhook import Sender
from worker.errors import NotDelivered
from worker.settings import Settings
from worker.telemetry import ALERT_DELIVERIES, ALERTS_SUPPRESSED, Log, get_logger
from worker.timing import Backoff

LEASE_S = 30.0
"""A dead leader's alerts wait so long. More than writing to Kafka may take (11 s, and 10 s of blocking before)."""

AT_ONCE = 16
"""Deliveries that are under way at once."""

RETRY_BASE_S = 10.0
RETRY_LIMIT_S = 2 * 3600.0


@dataclass(frozen=True)
class Outlets:
    """Where alerts go; all of it replaceable by the shipped fakes."""

    store: AlertStore
    topic: AlertTopic
    webhooks: Mapping[str, Sender] = field(default_factory=dict)


class Deliverer:
    """Empties the outbox while its worker leads.

    Args:
        outlets: the store, and where alerts go.
        token: of the leader.
        settings: the pub/sub channel and how often a webhook is tried.
    """

    def __init__(self, outlets: Outlets, token: str, settings: Settings) -> None:
        self._outlets = outlets
        self._token = token
        self._channel = settings.alert_channel
        self._attempts = settings.alert_webhook_attempts
        self._cool_down_s = settings.alert_cool_down_s

    async def deliver(self) -> int:
        """Try every delivery that is due, once; how many there were.

        Raises:
            StoreUnavailable, BrokerUnavailable: try again; nothing is lost and nothing is written twice.
            ConfigInvalid: the topic cannot be read or written.
        """
        due = await self._outlets.store.due(AT_ONCE)
        for_kafka = [delivery for delivery in due if delivery.channel == KAFKA]
        if for_kafka:
            await self._to_kafka(for_kafka)
        await asyncio.gather(*(self._to_webhook(delivery) for delivery in due if delivery.channel != KAFKA))
        return len(due)

    async def _to_kafka(self, deliveries: list[Delivery]) -> None:
        """Steps 2 and 3, in the order of the windows."""
        store, topic = self._outlets.store, self._outlets.topic
        known = await topic.known()
        for delivery in sorted(deliveries, key=lambda each: (each.alert.window_end, each.alert.alert_id)):
            # The lease outlasts the writing: whoever leads after it reads the topic when this record is in it.
            if not await store.lead(self._token, LEASE_S):
                return
            if delivery.alert.alert_id not in known:
                if any(self._is_same_shift(delivery.alert, other) for other in known.values()):
                    await self._drop(delivery)
                    continue
                await topic.publish(delivery.alert)
                ALERT_DELIVERIES.labels(channel="kafka", result="sent").inc()
            else:
                ALERT_DELIVERIES.labels(channel="kafka", result="found").inc()
            await store.sent(self._token, delivery, then=list(self._outlets.webhooks), publish_on=self._channel)

    def _is_same_shift(self, one: Alert, other: Alert) -> bool:
        """Whether two alerts are closer than the cool-down lets one key speak.

        Then Redis rolled back, and late posts let the detector decide in another window than it had before.
        """
        apart_s = abs((one.window_end - other.window_end).total_seconds())
        return (one.key, one.direction) == (other.key, other.direction) and apart_s < self._cool_down_s

    async def _drop(self, delivery: Delivery) -> None:
        get_logger().warning(Log.ALERT_SUPPRESSED, alert_id=delivery.alert.alert_id, reason="repeats")
        ALERTS_SUPPRESSED.labels(reason="repeats").inc()
        await self._outlets.store.sent(self._token, delivery)

    async def _to_webhook(self, delivery: Delivery) -> None:
        """Step 4."""
        store, webhook = self._outlets.store, self._outlets.webhooks.get(delivery.channel)
        if webhook is None:
            await store.give_up(self._token, delivery, "this webhook is no longer in POLYVOX_ALERT_WEBHOOKS")
            return
        try:
            await webhook.send(delivery.alert.alert_id, webhook_body(delivery.alert))
        except NotDelivered as why:
            await self._failed(delivery, why)
        else:
            ALERT_DELIVERIES.labels(channel="webhook", result="sent").inc()
            await store.sent(self._token, delivery)

    async def _failed(self, delivery: Delivery, why: NotDelivered) -> None:
        logged = {"alert_id": delivery.alert.alert_id, "channel": delivery.channel, "error": str(why)}
        if why.for_good or delivery.attempts + 1 >= self._attempts:
            get_logger().error(Log.ALERT_UNDELIVERED, attempts=delivery.attempts + 1, **logged)
            ALERT_DELIVERIES.labels(channel="webhook", result="given_up").inc()
            await self._outlets.store.give_up(self._token, delivery, str(why))
            return
        get_logger().warning(Log.WEBHOOK_FAILED, attempts=delivery.attempts + 1, **logged)
        ALERT_DELIVERIES.labels(channel="webhook", result="failed").inc()
        await self._outlets.store.failed(self._token, delivery, again_in_s(delivery.attempts))


def again_in_s(attempts: int) -> float:
    """How long to wait after one more failure: doubling from 10 s to 2 hours, the upper half of it by chance.

    Half fixed, since with full jitter ten attempts may all fall into one short outage of the receiver.
    """
    ceiling_s = min(RETRY_LIMIT_S, RETRY_BASE_S * 2.0**attempts)
    return ceiling_s / 2 + Backoff(base_s=ceiling_s / 2, limit_s=ceiling_s / 2).next_s()


def webhook_body(alert: Alert) -> bytes:
    """What is posted, in the form that Standard Webhooks recommends: type, timestamp of the event, data."""
    return msgspec.json.encode({"type": "alert.raised", "timestamp": alert.raised_at, "data": alert})
