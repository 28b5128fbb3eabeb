"""A circuit breaker: while a server is known to be away, one call at a time asks for it, and no other waits for it.

    closed ──failure──► open ──after a pause──► half-open ──success──► closed
                          ▲                         │
                          └─────────failure─────────┘

Own code: purgatory, aiobreaker and pybreaker read the clock themselves, pause for a fixed time without jitter, and
count each caller's failure, so that one outage that fails three batches at once counts as three.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from worker.timing import Backoff, Clock

State = Literal["closed", "open", "half-open"]

PROBE_LIMIT_S = 1.0
"""Longest pause between two probes; with what gRPC takes to connect again it bounds how late an answer is noticed."""


@dataclass
class Breaker:
    """Whether calls may go out. Pure: the clock and the jitter are arguments.

    A call asks for a `permit` and gives it back with what became of it. A permit that is older than the last change
    of state belongs to an outage that was counted already, and changes nothing.
    """

    clock: Clock
    backoff: Backoff = field(default_factory=lambda: Backoff(limit_s=PROBE_LIMIT_S))
    outages: int = 0
    _epoch: int = 0
    _open: bool = False
    _probing: bool = False
    _probe_at_s: float = 0.0

    @property
    def state(self) -> State:
        """Where it stands; half-open from the end of the pause until the probe's result."""
        if self.closed:
            return "closed"
        return "half-open" if self.pause_s() == 0.0 else "open"

    @property
    def closed(self) -> bool:
        """Whether calls go out freely."""
        return not self._open

    def pause_s(self) -> float:
        """Seconds until a probe may go out; 0 when closed."""
        return max(0.0, self._probe_at_s - self.clock.monotonic_s()) if self._open else 0.0

    def permit(self) -> int | None:
        """A permit for a call now, when half-open for one probe alone; None when none may go out."""
        if self.state == "open" or self._probing:
            return None
        self._probing = self._open
        return self._epoch

    def succeeded(self, permit: int) -> None:
        """The call was answered, if only by a refusal: the server is there."""
        if permit == self._epoch and self._open:
            self._epoch += 1
            self._open = self._probing = False

    def failed(self, permit: int) -> None:
        """The call was not answered, after all its tries: one failure, whatever else fails beside it."""
        if permit != self._epoch:
            return
        pause_s = 0.0
        if self._open:
            pause_s = self.backoff.next_s()
        else:  # the first probe goes out at once: it tells whether the call's records were at fault
            self.outages += 1
            self.backoff.reset()
        self._epoch += 1
        self._open, self._probing = True, False
        self._probe_at_s = self.clock.monotonic_s() + pause_s
