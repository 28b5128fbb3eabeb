"""How often a CUSUM would stand as high as it does of chance alone.

For normal increments the average run length of a one-sided CUSUM of log-likelihood ratios is
(exp(b) - b - 1) / I with I = d**2 / 2, the information of one observation about the design shift (d: the shift in
standard deviations), b the limit; observing only at whole windows adds 2 * 0.583 * d to the limit (Siegmund 1985,
sequential analysis, chapter 10). The bench measures how near it comes.
"""

from __future__ import annotations

import numpy as np

from worker.opinion.index.correction import Floats

DESIGN_SHIFTS: Floats = np.array([0.06, 0.11, 0.25])
"""Drops or rises of net sentiment that a CUSUM each is best for; those between lose a fifth of the speed at most."""
SPLIT: Floats = np.array([0.36, 0.72, 0.30])
"""The part of the declared rate that each design shift, both directions together, may use. More than 1 in sum: what
one of them takes for a shift, its neighbours often do too."""
OVERSHOOT = 1.166
USUAL_PACE, PACE_EXPONENT = 36.0, 0.25
"""A correction that was measured: evidence that takes days to gather is in part learned as baseline, so keys with few
posts signal less often than the formula says, and those with many more often. 36 is some 900 posts an hour."""
DAY_S = 86_400
NEVER = 1e6
"""False signals a day of a detector that has gathered nothing, a bound in place of infinity."""


def false_per_day(sums: Floats, pace: Floats, window_s: float) -> Floats:
    """Expected false signals a day at limits as high as the CUSUMs stand.

    Args:
        sums: (..., directions, design shifts).
        pace: (...), mean of 1 / variance of a window.

    Returns:
        Of each CUSUM, relative to its part of the declared rate; same shape as `sums`. The smallest one counts.
    """
    strength = DESIGN_SHIFTS * np.sqrt(pace)[..., None, None]
    level = np.minimum(sums + OVERSHOOT * strength, 600.0)
    between = np.expm1(level) - level
    informed = strength**2 / 2
    rates = np.where(between > 0, informed / np.maximum(between, 1e-300), NEVER) * (DAY_S / window_s)
    learned = (np.maximum(pace, 1.0)[..., None, None] / USUAL_PACE) ** PACE_EXPONENT
    return np.minimum(rates * learned * 2 / SPLIT, NEVER)
