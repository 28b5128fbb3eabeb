"""The topic of alerts, read whole and written record by record: there are few."""

from __future__ import annotations

import msgspec

from worker.alert_event import Alert, decode_alert, encode_alert
from worker.feeds.connect import broker_errors, consumer, producer
from worker.feeds.log import end_offsets, partitions_of, read_pieces
from worker.settings import Settings

DELIVERY_MS = 11_000
"""How long a record may wait for the brokers; with what a producer may block before that, less than a lease holds."""

PARTITION = 0
"""Alerts keep the order of their windows; an operator's topic may have more partitions."""


class AlertLog:
    """What the topic holds, read on from where the last reading ended.

    Args:
        settings: name the topic.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._next: dict[int, int] = {}
        self._found: dict[str, Alert] = {}

    def alerts(self) -> dict[str, Alert]:
        """All alerts in the topic, now, by id; records that are no alerts are passed over.

        Raises:
            ConfigInvalid: there is no such topic.
            BrokerUnavailable: the cluster cannot be reached.
        """
        with consumer(self._settings, "read_committed") as client:
            partitions = partitions_of(client, self._settings.alerts_topic)
            begins, ends = client.beginning_offsets(partitions), end_offsets(client, partitions)
            for partition in partitions:
                begin = max(begins[partition], self._next.get(partition.partition, 0))
                for piece in read_pieces(client, partition, begin, ends[partition]):
                    for alert in filter(None, (_alert_in(record.value) for record in piece)):
                        self._found.setdefault(alert.alert_id, alert)
                self._next[partition.partition] = ends[partition]
        return dict(self._found)

    def publish(self, alert: Alert) -> None:
        """Return when all replicas have it.

        Raises:
            ConfigInvalid: there is no such topic, or this user may not write to it.
            BrokerUnavailable: the brokers did not confirm it; they may have it all the same.
        """
        with producer(self._settings, DELIVERY_MS) as client, broker_errors(self._settings):
            sent = client.send(
                self._settings.alerts_topic,
                key=alert.alert_id.encode(),
                value=encode_alert(alert),
                headers=[("pv-alert-id", alert.alert_id.encode())],
                partition=PARTITION,
            )
            sent.get(timeout=DELIVERY_MS / 1000)


def _alert_in(value: bytes | None) -> Alert | None:
    """The alert in a record."""
    try:
        return decode_alert(value or b"")
    except msgspec.DecodeError:
        return None
