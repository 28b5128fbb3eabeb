"""A store and a topic of alerts in this process's memory, as the real ones behave: for tests."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from worker.alert_event import Alert
from worker.alerts.store import KAFKA, UNDELIVERED_KEPT, Delivery, Progress, Settled, Stored, Undelivered
from worker.timing import Clock


@dataclass
class MemoryAlertStore:
    """An `AlertStore`; each call is one step, whole or not at all, as a script is.

    Args:
        clock: the present.
        kept: alerts in the history, at most.
        published: what was published, as (pub/sub channel, alert).
    """

    clock: Clock
    kept: int = 10_000
    published: list[tuple[str, Alert]] = field(default_factory=list)
    holder: str | None = None
    held_until_ms: int = 0
    epoch: str | None = None
    stored: Progress = field(default_factory=lambda: Progress(None, {}))
    alerts: dict[str, Alert] = field(default_factory=dict)
    due_ms: dict[tuple[str, str], int] = field(default_factory=dict)
    attempts: Counter[tuple[str, str]] = field(default_factory=Counter)
    given_up: list[Undelivered] = field(default_factory=list)

    async def lead(self, token: str, lease_s: float) -> bool:
        if not self._leads(token) and self._held():
            return False
        self.holder, self.held_until_ms = token, self.clock.unix_ms() + round(lease_s * 1000)
        return True

    async def release(self, token: str) -> None:
        if self.holder == token:
            self.holder = None

    def _held(self) -> bool:
        return self.holder is not None and self.clock.unix_ms() < self.held_until_ms

    def _leads(self, token: str) -> bool:
        return self._held() and self.holder == token

    async def progress(self, epoch: str) -> Progress:
        known = self.epoch == epoch
        return Progress(self.stored.next_s, dict(self.stored.detectors)) if known else Progress(None, {})

    async def settle(self, token: str, settled: Settled) -> tuple[Stored, list[str]]:
        if not self._leads(token):
            return "not_leader", []
        before = await self.progress(settled.epoch)
        if before.next_s != settled.expected_s:
            return "moved", []
        states = before.detectors | dict(settled.detectors)
        self.epoch = settled.epoch
        self.stored = Progress(settled.next_s, {name: state for name, state in states.items() if state})
        new = [alert for alert in settled.alerts if alert.alert_id not in self.alerts]
        for alert in new:
            self.alerts[alert.alert_id] = alert
            self.due_ms[KAFKA, alert.alert_id] = self.clock.unix_ms()
        self._forget()
        return "stored", [alert.alert_id for alert in new]

    def _forget(self) -> None:
        waiting = {alert_id for _, alert_id in self.due_ms}
        ordered = sorted(self.alerts.values(), key=lambda alert: (alert.window_end, alert.alert_id))
        for alert in ordered[: max(0, len(ordered) - self.kept)]:
            if alert.alert_id not in waiting:
                del self.alerts[alert.alert_id]

    async def due(self, limit: int) -> list[Delivery]:
        now_ms = self.clock.unix_ms()
        ready = sorted((due_ms, place) for place, due_ms in self.due_ms.items() if due_ms <= now_ms)
        return [Delivery(place[0], self.alerts[place[1]], self.attempts[place]) for _, place in ready[:limit]]

    async def sent(self, token: str, delivery: Delivery, then: Sequence[str] = (), publish_on: str = "") -> bool:
        if not self._leads(token):
            return False
        if self._take(delivery):
            for channel in then:
                self.due_ms[channel, delivery.alert.alert_id] = self.clock.unix_ms()
            if publish_on:
                self.published.append((publish_on, delivery.alert))
        return True

    async def failed(self, token: str, delivery: Delivery, again_in_s: float) -> bool:
        if not self._leads(token):
            return False
        place = (delivery.channel, delivery.alert.alert_id)
        if place in self.due_ms:
            self.due_ms[place] = self.clock.unix_ms() + round(again_in_s * 1000)
            self.attempts[place] += 1
        return True

    async def give_up(self, token: str, delivery: Delivery, error: str) -> bool:
        if not self._leads(token):
            return False
        if self._take(delivery):
            entry = Undelivered(
                alert_id=delivery.alert.alert_id,
                channel=delivery.channel,
                attempts=delivery.attempts + 1,
                given_up_ms=self.clock.unix_ms(),
                error=error,
            )
            self.given_up = [entry, *self.given_up][:UNDELIVERED_KEPT]
        return True

    def _take(self, delivery: Delivery) -> bool:
        """Whether a delivery was due still; it is not any more."""
        place = (delivery.channel, delivery.alert.alert_id)
        self.attempts.pop(place, None)
        return self.due_ms.pop(place, None) is not None

    async def history(self, newest: int) -> list[Alert]:
        ordered = sorted(self.alerts.values(), key=lambda alert: (alert.window_end, alert.alert_id), reverse=True)
        return ordered[:newest]

    async def undelivered(self) -> list[Undelivered]:
        return list(self.given_up)

    async def resend(self, alert_id: str) -> int:
        mine = [entry for entry in self.given_up if entry.alert_id == alert_id and alert_id in self.alerts]
        self.given_up = [entry for entry in self.given_up if entry not in mine]
        for entry in mine:
            self.due_ms[entry.channel, alert_id] = self.clock.unix_ms()
        return len(mine)

    async def aclose(self) -> None:
        """Nothing to release."""


@dataclass
class MemoryTopic:
    """An `AlertTopic`: what was written, in order, repeats included."""

    written: list[Alert] = field(default_factory=list)

    async def known(self) -> Mapping[str, Alert]:
        return {alert.alert_id: alert for alert in self.written}

    async def publish(self, alert: Alert) -> None:
        self.written.append(alert)
