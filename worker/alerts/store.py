"""The contract of an alert store: the detectors, the outbox and the history, written by one leader at a time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, NamedTuple, Protocol

import msgspec

from worker.alert_event import Alert

KAFKA = "kafka"
"""The channel that comes first: pub/sub and webhooks follow when the alert is in the topic."""

UNDELIVERED_KEPT = 1000

Stored = Literal["stored", "moved", "not_leader"]


class Progress(NamedTuple):
    """How far the windows are read.

    Args:
        next_s: first second of the next window; None before the first.
        detectors: states by name, opaque.
    """

    next_s: int | None
    detectors: dict[str, str]


@dataclass(frozen=True, kw_only=True)
class Settled:
    """What one window came to.

    Args:
        epoch: names the detectors; states of another epoch are dropped.
        expected_s: the window that the caller believes is next; None while it has seen none stored.
        next_s: the window that is next from now on.
        detectors: new states by name; "" forgets one.
    """

    epoch: str
    expected_s: int | None
    next_s: int
    detectors: Mapping[str, str] = field(default_factory=dict)
    alerts: Sequence[Alert] = ()


@dataclass(frozen=True)
class Delivery:
    """One alert on its way to one channel; `attempts` have failed."""

    channel: str
    alert: Alert
    attempts: int = 0

    @property
    def name(self) -> str:
        """As it stands in the store."""
        return f"{self.channel}/{self.alert.alert_id}"


class Undelivered(msgspec.Struct, frozen=True, kw_only=True):
    """A delivery that was given up; `error` never holds a URL."""

    alert_id: str
    channel: str
    attempts: int
    given_up_ms: int
    error: str


class AlertStore(Protocol):
    """Where the leader keeps everything; a call whose reply was lost may be repeated.

    All methods raise `StoreUnavailable` or `ConfigInvalid`. Methods that take a token write nothing and say so when
    another worker holds the lease.
    """

    async def lead(self, token: str, lease_s: float) -> bool:
        """Take or keep the lease for so long; False while another token holds it."""
        ...

    async def release(self, token: str) -> None:
        """Give the lease back."""
        ...

    async def progress(self, epoch: str) -> Progress:
        """How far the detectors of an epoch have read."""
        ...

    async def settle(self, token: str, settled: Settled) -> tuple[Stored, list[str]]:
        """Store the next window, the detectors and the alerts, atomically.

        Returns:
            What became of it, and the ids of the alerts that are new. `moved`: another window is next than expected
            (Redis rolled back, or the reply of this very call was lost): nothing was written; read `progress` again.
        """
        ...

    async def due(self, limit: int) -> list[Delivery]:
        """Deliveries whose time has come, longest due first."""
        ...

    async def sent(self, token: str, delivery: Delivery, then: Sequence[str] = (), publish_on: str = "") -> bool:
        """Note a delivery; in the same step make it due for further channels and publish it on a pub/sub channel."""
        ...

    async def failed(self, token: str, delivery: Delivery, again_in_s: float) -> bool:
        """Note a failed attempt; due again after so long."""
        ...

    async def give_up(self, token: str, delivery: Delivery, error: str) -> bool:
        """Move a delivery to the undelivered list, which keeps the newest `UNDELIVERED_KEPT`."""
        ...

    async def history(self, newest: int) -> list[Alert]:
        """The alerts of the newest windows, newest first."""
        ...

    async def undelivered(self) -> list[Undelivered]:
        """What was given up, newest first."""
        ...

    async def resend(self, alert_id: str) -> int:
        """Make the undelivered deliveries of an alert due again; how many there were."""
        ...

    async def aclose(self) -> None:
        """Release the connections."""
        ...
