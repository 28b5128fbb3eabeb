"""The leader: reads each settled window once, lets the detectors judge it, and stores what came of it in one step.

A kill before that step leaves the window unread, and the next leader comes to the same; a kill after it leaves the
alerts in the outbox. Two leaders cannot both store a window: the lease is looked at inside the step.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Collection
from dataclasses import dataclass, replace

import msgspec

from worker.alert_event import Alert
from worker.alerts.judge import Judged, judge
from worker.alerts.keys import name_of, parse_name
from worker.alerts.store import AlertStore, Settled
from worker.alerts.watched import Watched, Watcher
from worker.alerts.windows import Windows
from worker.opinion.shifts.words import Annotation, Key, Signal, Span
from worker.settings import Settings
from worker.telemetry import ALERTS, ALERTS_SUPPRESSED, WINDOWS_BEHIND, Log, get_logger
from worker.timing import Clock

Compose = Callable[[Signal, Judged], Awaitable[Alert | None]]
"""Makes the alert of a signal, reading what it needs for that; None when there is nothing to compare with."""

DETECTORS = 2
"""Raised with a change after which stored detectors cannot be read or would mean something else."""

PASSED_OVER: frozenset[Annotation] = frozenset({"incomplete", "outage", "model_changed"})
"""Annotations of a window that its detector did not judge, though it had enough posts."""

AT_ONCE = 50
"""Windows read before others get their turn."""

LOOK_AGAIN_S = 10.0
"""After a look at Kafka that found records waiting: it costs as much as hundreds of posts."""


@dataclass(frozen=True)
class LeaderParts:
    """What a leader is made of; all of it replaceable by the shipped fakes.

    Args:
        waiting: the shards in which records wait; raises `BrokerUnavailable` when that cannot be told.
        outage: whether a server was away, as far as this worker knows, during a stretch of time.
    """

    store: AlertStore
    windows: Windows
    watcher: Watcher
    compose: Compose
    clock: Clock
    waiting: Callable[[], Awaitable[Collection[str]]]
    outage: Callable[[Span], bool]


def epoch_of(settings: Settings) -> str:
    """What the store calls these detectors."""
    return f"{DETECTORS}:{settings.alert_window_s}"


class Leader:
    """Reads windows for as long as its token holds the lease.

    Args:
        token: of this run of the worker.
        settings: width, settling lag and retention of windows.
    """

    def __init__(self, parts: LeaderParts, token: str, settings: Settings) -> None:
        self._parts = parts
        self._token = token
        self._width_s = settings.alert_window_s
        self._settling_s = settings.alert_settling_s
        self._kept_s = settings.retention_hour_s if settings.alert_window == "hour" else settings.retention_minute_s
        self._epoch = epoch_of(settings)
        self._next_s: int | None = None
        self._oldest_s: int | None = None
        self._states: dict[Key, Watched] | None = None
        self._look_again_s = 0.0

    def forget(self) -> None:
        """Another worker may have read on since: ask the store again before the next window."""
        self._states = None

    async def read_settled(self) -> int:
        """Read the windows that have settled since, the oldest first, `AT_ONCE` at most; how many were stored.

        Raises:
            StoreUnavailable, BrokerUnavailable: call again; what was not stored is read again.
        """
        if self._states is None:
            await self._load()
        first_s = await self._first_s()
        if first_s is None:
            return 0
        ready = await self._ready(first_s, ())
        if ready:  # asked only now: to know what waits takes a look at Kafka
            if self._parts.clock.monotonic_s() < self._look_again_s:
                return 0
            ready = await self._ready_behind(first_s)
        WINDOWS_BEHIND.set(ready)
        for number in range(min(ready, AT_ONCE)):
            start_s = first_s + number * self._width_s
            if not await self._read(Span(start_s, start_s + self._width_s)):
                return number
            WINDOWS_BEHIND.set(ready - number - 1)
        return min(ready, AT_ONCE)

    async def _ready_behind(self, first_s: int) -> int:
        """As `_ready`, knowing what waits."""
        waiting = await self._parts.waiting()
        ready = await self._ready(first_s, waiting)
        if waiting and ready <= AT_ONCE:
            self._look_again_s = self._parts.clock.monotonic_s() + LOOK_AGAIN_S
        return ready

    async def _ready(self, first_s: int, waiting: Collection[str]) -> int:
        """How many windows have settled, from the next one on."""
        until_s = await self._parts.windows.settled_until_s(waiting)
        return 0 if until_s is None else max(0, (until_s - self._settling_s - first_s) // self._width_s)

    async def _load(self) -> None:
        """Read how far the windows are read, and the detectors."""
        progress = await self._parts.store.progress(self._epoch)
        self._next_s = progress.next_s
        self._states = {
            parse_name(name): msgspec.json.decode(state, type=Watched) for name, state in progress.detectors.items()
        }

    async def _first_s(self) -> int | None:
        """The next window to read: the stored one, unless it is forgotten by now; the oldest kept at the beginning."""
        oldest_s = (self._parts.clock.unix_ms() // 1000 - self._kept_s) // self._width_s * self._width_s
        if self._next_s is None:
            if self._oldest_s is None:  # finding it walks all keys, so it is looked for once
                self._oldest_s = await self._parts.windows.first_s()
            found_s = self._oldest_s
            return None if found_s is None else max(oldest_s, found_s // self._width_s * self._width_s)
        if self._next_s < oldest_s:
            skipped = (oldest_s - self._next_s) // self._width_s
            get_logger().warning(Log.WINDOWS_SKIPPED, windows=skipped)
            return oldest_s
        return self._next_s

    async def _read(self, span: Span) -> bool:
        """Read one window and store what came of it; False when somebody else has, or leads."""
        states = self._states
        if states is None:
            return False
        window = replace(await self._parts.windows.read(span), outage=self._parts.outage(span))
        judged = await asyncio.to_thread(judge, self._parts.watcher, states, window)
        made = [await self._parts.compose(signal, judged) for signal in judged.alerts]
        alerts = [alert for alert in made if alert is not None]
        forgotten_s = span.start_s - self._parts.watcher.limits.memory_s
        gone = [key for key, watched in states.items() if watched.seen_s < forgotten_s]
        settled = Settled(
            epoch=self._epoch,
            expected_s=self._next_s,
            next_s=span.end_s,
            detectors={name_of(key): msgspec.json.encode(watched).decode() for key, watched in judged.states.items()}
            | {name_of(key): "" for key in gone},
            alerts=alerts,
        )
        answer, new = await self._parts.store.settle(self._token, settled)
        if answer != "stored":
            self.forget()
            return False
        self._next_s = span.end_s
        states.update(judged.states)
        for key in gone:
            states.pop(key, None)
        self._tell(judged, [alert for alert in alerts if alert.alert_id in new])
        ALERTS_SUPPRESSED.labels(reason="nothing_before").inc(len(made) - len(alerts))
        return True

    def _tell(self, judged: Judged, new: list[Alert]) -> None:
        """Count and log what came of a window; an alert that a rolled-back store raises again is not new."""
        for alert in new:
            ALERTS.labels(kind=alert.key.kind, direction=alert.direction).inc()
            get_logger().warning(
                Log.ALERT_RAISED, alert_id=alert.alert_id, kind=alert.key.kind, direction=alert.direction
            )
        if judged.quiet:
            ALERTS_SUPPRESSED.labels(reason="control").inc(judged.quiet)
        passed_over = Counter(each for watched in judged.states.values() for each in watched.state.annotations)
        for reason in PASSED_OVER & passed_over.keys():
            ALERTS_SUPPRESSED.labels(reason=reason).inc(passed_over[reason])
