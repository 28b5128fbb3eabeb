"""Limits on dead letters: a bad deployment must stop, not dead-letter everything that it reads.

Two limits, as in arroyo's `DlqLimit`: a share of the last records, and dead letters without a good record between them.
Both count over all partitions of a process: a deployment fails everywhere, a bad publisher in some places. They count
from the start of the process, so a supervisor that starts it again lets as many through each time: it ends with a code
of its own, `ending.EXIT_DEAD_LETTERS`, after which it should not be started again without a look.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field

from worker.errors import TooManyDeadLetters
from worker.events import ORIGIN_HEADER
from worker.settings import Settings
from worker.stream.records import OutputRecord
from worker.telemetry import DEAD_LETTER_SHARE, DEAD_LETTERS_IN_A_ROW, Log, get_logger


@dataclass
class Tally:
    """The last `window` records, and whether they were dead letters.

    Args:
        window: how many; their share is not judged before there are so many.
        max_share, max_consecutive: what is still allowed.
    """

    window: int
    max_share: float
    max_consecutive: int
    consecutive: int = 0
    _recent: deque[bool] = field(default_factory=deque)
    _dead: int = 0

    @property
    def share(self) -> float:
        """Of dead letters in the window; 0 while it is not full."""
        return self._dead / self.window if len(self._recent) == self.window else 0.0

    def add(self, dead: bool) -> str | None:
        """Note the next record; None, or which limit it exceeds, for people."""
        self._recent.append(dead)
        self._dead += dead
        if len(self._recent) > self.window:
            self._dead -= self._recent.popleft()
        self.consecutive = self.consecutive + 1 if dead else 0
        if self.consecutive > self.max_consecutive:
            limit = f"POLYVOX_DEAD_LETTER_MAX_CONSECUTIVE is {self.max_consecutive}"
            return f"{self.consecutive} dead letters in a row, {limit}"
        if self.share > self.max_share:
            return (
                f"{self.share:.0%} of the last {self.window} records are dead letters, "
                f"POLYVOX_DEAD_LETTER_MAX_SHARE is {self.max_share:.0%}"
            )
        return None


class DeadLetterLimits:
    """Refuses to publish what exceeds a limit."""

    def __init__(self, tally: Tally) -> None:
        self._tally = tally

    @classmethod
    def of(cls, settings: Settings) -> DeadLetterLimits:
        """The limits that are configured."""
        return cls(
            Tally(settings.dead_letter_window, settings.dead_letter_max_share, settings.dead_letter_max_consecutive)
        )

    def check(self, records: Sequence[OutputRecord], dead_letters_topic: str) -> None:
        """Note records that are about to be published. Requeued ones do not count: some of them fail again.

        Raises:
            TooManyDeadLetters: publish none of them, and end.
        """
        for record in records:
            if ORIGIN_HEADER in dict(record.headers):
                continue
            exceeded = self._tally.add(record.topic == dead_letters_topic)
            if exceeded is not None:
                self._end(exceeded, dict(record.headers))
        DEAD_LETTER_SHARE.set(self._tally.share)
        DEAD_LETTERS_IN_A_ROW.set(self._tally.consecutive)

    def _end(self, exceeded: str, last: dict[str, bytes]) -> None:
        stage, reason = (last[name].decode() for name in ("pv-stage", "pv-reason"))
        DEAD_LETTER_SHARE.set(self._tally.share)
        DEAD_LETTERS_IN_A_ROW.set(self._tally.consecutive)
        get_logger().error(
            Log.TOO_MANY_DEAD_LETTERS,
            in_a_row=self._tally.consecutive,
            share=self._tally.share,
            stage=stage,
            reason=reason,
        )
        raise TooManyDeadLetters(
            f"{exceeded}; the last one is {stage}: {reason}. Nothing of this batch was published or committed. A new "
            "version or setting is at fault, or a publisher: put it right, or raise the limit to let them through"
        )
