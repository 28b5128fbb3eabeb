"""The course of a usual week: a level and a few harmonics, evaluated at a time.

168 free hours of a week would each be known so badly after a month that their error looks like shifts; 14 smooth terms
are known after two weeks, and shrunk to a flat week before.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from worker.opinion.index.correction import Floats

WEEK_S = 7 * 86_400
DAILY = (7, 14, 21)
"""Waves per week that make a day: its first three harmonics."""
WEEKLY = (1, 2, 6, 8)
"""Waves that tell the days of a week apart: its first two harmonics, and the day's first one changing over the week."""
TERMS = 1 + 2 * len(DAILY) + 2 * len(WEEKLY)
PRIOR_DEVIATIONS: Floats = np.array([1.0] + [0.05] * (2 * len(DAILY)) + [0.02] * (2 * len(WEEKLY)))
"""Before anything is known: a level anywhere, waves of 5 points over the day and 2 over the week. The week's are few
points because two weeks teach more: until then a slow small shift may pass for a weekend, a large one does not."""


def waves(at_s: Sequence[float] | float) -> Floats:
    """1 and the cosine and sine of each wave; shape (..., TERMS)."""
    turns = np.multiply.outer(np.asarray(at_s, dtype=np.float64) / WEEK_S, np.array([*DAILY, *WEEKLY]))
    pairs = np.stack([np.cos(2 * np.pi * turns), np.sin(2 * np.pi * turns)], axis=-1)
    flat = pairs.reshape(*pairs.shape[:-2], -1)
    return np.concatenate([np.ones((*flat.shape[:-1], 1)), flat], axis=-1)


def prior_covariance() -> Floats:
    """Of a baseline that has seen nothing."""
    return np.diag(PRIOR_DEVIATIONS**2)
