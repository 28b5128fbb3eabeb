"""The alerts in Kafka, as the deliverer sees them."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Protocol

from worker.alert_event import Alert
from worker.feeds.alerts import AlertLog
from worker.settings import Settings


class AlertTopic(Protocol):
    """Where each alert is written once. Both raise `BrokerUnavailable` (try again) or `ConfigInvalid`."""

    async def known(self) -> Mapping[str, Alert]:
        """The alerts that are there, by id."""
        ...

    async def publish(self, alert: Alert) -> None:
        """Return when it is there; within `worker.feeds.alerts.DELIVERY_MS` and the time of connecting, or fail."""
        ...


class KafkaAlertTopic:
    """The topic of the settings."""

    def __init__(self, settings: Settings) -> None:
        self._log = AlertLog(settings)

    async def known(self) -> Mapping[str, Alert]:
        return await asyncio.to_thread(self._log.alerts)

    async def publish(self, alert: Alert) -> None:
        await asyncio.to_thread(self._log.publish, alert)
