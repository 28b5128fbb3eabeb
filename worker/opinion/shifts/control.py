"""From signals of single keys to alerts of the installation: false-discovery control over all keys.

A signal says how often a day its key alone would stand as high of chance alone. Of all keys, `keys` times that many
false ones are expected a day. As in the step-up rule of Benjamini and Hochberg (1995), the `n` strongest signals of a
window become alerts if `n` times the declared number is not less than what is expected at the weakest of them: a
single one must be so strong that chance brings one of its kind no more often than declared; many at once need less.
"""

from __future__ import annotations

from collections.abc import Sequence

from worker.opinion.shifts.limits import Limits
from worker.opinion.shifts.words import Signal

MARGIN = 0.5
"""Of the declared number, what is spent: rates are approximations, and keys that share posts shift together."""


def select(signals: Sequence[Signal], keys: int, limits: Limits) -> list[Signal]:
    """Of the signals of one window, those that become alerts, strongest first.

    Args:
        signals: of all keys, at most one each, those that still hold included.
        keys: how many keys are watched, silent ones too.
    """
    ordered = sorted(signals, key=lambda signal: (signal.false_per_day, signal.key))
    chosen = chosen_of([signal.false_per_day for signal in ordered], keys, limits)
    return ordered[:chosen]


def chosen_of(false_per_day: Sequence[float], keys: int, limits: Limits) -> int:
    """How many of the strongest become alerts; `false_per_day` in ascending order."""
    spent = MARGIN * limits.false_alerts_per_day
    enough = [n for n, rate in enumerate(false_per_day, start=1) if keys * rate <= n * spent]
    return max(enough, default=0)
