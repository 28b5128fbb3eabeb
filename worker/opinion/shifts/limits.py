"""What is declared of detectors and alerts: rates, lengths of time, smallest volumes."""

from __future__ import annotations

import msgspec

DAY_S = 86_400


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    """How often detectors may be wrong, and what they need before they speak.

    Args:
        false_alerts_per_day: for the whole installation, all keys together.
        false_signals_per_key_day: for each key alone; signals only become alerts through the control over all keys.
        window_s: the width of the windows that are observed.
        minimum_posts: a window with fewer effective posts is skipped.
        minimum_completeness: a window with a smaller share of analysed posts is skipped.
        warm_up_s: so much observed time before the first signal.
        memory_s: how long the baseline, and the usual labels of a mix, remember.
        cool_down_s: after an alert, no signal of the same key for so long.
    """

    false_alerts_per_day: float = 1.0
    false_signals_per_key_day: float = 1 / 30
    window_s: int = 300
    minimum_posts: float = 5.0
    minimum_completeness: float = 0.95
    warm_up_s: int = 3 * DAY_S
    memory_s: int = 56 * DAY_S
    cool_down_s: int = 6 * 3600

    @property
    def kept(self) -> float:
        """What one window leaves of the weight of those before it."""
        return 1 / (1 + self.window_s / self.memory_s)
