"""Time as an argument: a clock, deadlines and backoff that tests can drive."""

from __future__ import annotations

import random
import time
from dataclasses import dataclass, field
from typing import Protocol


class Clock(Protocol):
    """Where the time comes from."""

    def monotonic_s(self) -> float:
        """Seconds that never run backwards, for durations."""
        ...

    def unix_ms(self) -> int:
        """Milliseconds since the epoch, for event time and timings."""
        ...


class SystemClock:
    """The clock of this machine."""

    def monotonic_s(self) -> float:
        return time.monotonic()

    def unix_ms(self) -> int:
        return time.time_ns() // 1_000_000


@dataclass
class ManualClock:
    """A clock that moves only when told to; for tests."""

    now_s: float = 1_700_000_000.0

    def monotonic_s(self) -> float:
        return self.now_s

    def unix_ms(self) -> int:
        return round(self.now_s * 1000)

    def advance(self, seconds: float) -> None:
        """Move forward by `seconds`."""
        self.now_s += seconds


@dataclass(frozen=True)
class Deadline:
    """A moment after which waiting is over."""

    clock: Clock
    at_s: float

    @classmethod
    def after(cls, timeout_s: float, clock: Clock) -> Deadline:
        """The deadline `timeout_s` seconds from now."""
        return cls(clock, clock.monotonic_s() + timeout_s)

    def left_s(self) -> float:
        """Seconds left, never negative."""
        return max(0.0, self.at_s - self.clock.monotonic_s())

    def passed(self) -> bool:
        """Whether the moment is over."""
        return self.left_s() == 0.0


_JITTER = random.Random()  # noqa: S311 - no secret; seeding one costs 10 us, and every call has a backoff


@dataclass
class Backoff:
    """Exponential backoff with full jitter.

    Source: Exponential Backoff And Jitter, AWS Architecture Blog, 2015: full jitter spreads
    retrying clients best.
    """

    base_s: float = 0.1
    limit_s: float = 5.0
    random: random.Random = field(default=_JITTER)
    attempts: int = 0

    def next_s(self) -> float:
        """How long to wait before the next attempt."""
        ceiling_s = min(self.limit_s, self.base_s * 2.0 ** min(self.attempts, 30))
        self.attempts += 1
        return self.random.uniform(0.0, ceiling_s)

    def reset(self) -> None:
        """Start again from `base_s`, after a success."""
        self.attempts = 0
