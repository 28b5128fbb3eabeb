"""From signals of single keys to alerts of the installation."""

from __future__ import annotations

from collections.abc import Sequence

from worker.opinion.shifts.limits import Limits
from worker.opinion.shifts.words import Signal


def select(signals: Sequence[Signal], keys: int, limits: Limits) -> list[Signal]:
    """Of the signals of one window, those that become alerts.

    Args:
        signals: of all keys, at most one each, those that still hold included.
        keys: how many keys are watched, silent ones too.
    """
    raise NotImplementedError
