"""What one would otherwise use on uncorrected net sentiment: PageHinkley and ADWIN of river, a threshold, 2-sigma.

Each takes series of all keys, (windows, keys), and says where it signals, (windows, keys). PageHinkley is river's,
written for all keys at once to be tuned in seconds; a test compares the two.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from river.drift import ADWIN

from worker.opinion.index.correction import Floats

Signals = NDArray[np.bool_]
Rival = Callable[[Floats, float], Signals]
WARM_UP_HOURS = 72
"""Nobody signals before; what they learn until then is theirs."""


def page_hinkley(series: Floats, threshold: float, delta: float) -> Signals:
    """As river's `PageHinkley(min_instances=30, delta=delta, threshold=threshold, alpha=0.9999, mode="both")`."""
    keys = series.shape[1]
    signals = np.zeros(series.shape, dtype=bool)
    seen, mean, rise, fall = np.zeros(keys), np.zeros(keys), np.zeros(keys), np.zeros(keys)
    least, most = np.full(keys, np.inf), np.full(keys, -1.0)
    for at, values in enumerate(series):
        known = ~np.isnan(values)
        value = np.where(known, values, 0.0)
        seen += known
        mean += np.where(known, (value - mean) / np.maximum(seen, 1), 0.0)
        rise = np.where(known, 0.9999 * rise + value - mean - delta, rise)
        fall = np.where(known, 0.9999 * fall + value - mean + delta, fall)
        least, most = np.minimum(least, rise), np.maximum(most, fall)
        found = known & (seen >= 30) & ((rise - least > threshold) | (most - fall > threshold))
        signals[at] = found
        for reset, to in ((seen, 0.0), (mean, 0.0), (rise, 0.0), (fall, 0.0), (least, np.inf), (most, -1.0)):
            reset[found] = to
    return signals


def adwin(series: Floats, delta: float) -> Signals:
    """That of river itself, key by key."""
    signals = np.zeros(series.shape, dtype=bool)
    for key in range(series.shape[1]):
        detector = ADWIN(delta=delta, clock=1)
        for at, value in enumerate(series[:, key].tolist()):
            if value == value:  # noqa: PLR0124 - not NaN
                detector.update(value)
                signals[at, key] = detector.drift_detected
    return signals


def fixed_threshold(series: Floats, distance: float, warm_up: int) -> Signals:
    """Further than `distance` from the mean of the warm-up; a stay outside is one signal."""
    usual = np.nanmean(series[:warm_up], axis=0)
    return _entries(np.abs(series - usual) > distance)


def sigma_rule(series: Floats, times: float, windows: int) -> Signals:
    """Further than `times` standard deviations from the mean of the last `windows`; a stay outside is one signal."""
    filled = np.where(np.isnan(series), np.nanmean(series), series)
    sums = np.cumsum(np.vstack([np.zeros(series.shape[1]), filled]), axis=0)
    squares = np.cumsum(np.vstack([np.zeros(series.shape[1]), filled**2]), axis=0)
    mean = (sums[windows:-1] - sums[: -windows - 1]) / windows
    spread = np.sqrt(np.maximum((squares[windows:-1] - squares[: -windows - 1]) / windows - mean**2, 1e-12))
    far = np.zeros(series.shape, dtype=bool)
    far[windows:] = np.abs(filled[windows:] - mean) > times * spread
    return _entries(far)


def _entries(outside: Signals) -> Signals:
    """Where a series goes outside."""
    before = np.vstack([np.zeros((1, outside.shape[1]), dtype=bool), outside[:-1]])
    return outside & ~before


def tuned(rival: Rival, series: Floats, edges: tuple[float, float], signals: float) -> float:
    """The setting with which a rival gives so many signals over a series without shifts; signals fall as it grows."""
    low, high = edges
    for _ in range(9):
        middle = (low * high) ** 0.5
        low, high = (middle, high) if rival(series, middle).sum() > signals else (low, middle)
    return high


def hourly(series: Floats, per_hour: int) -> Floats:
    """Means of whole hours; the last, incomplete one is left out."""
    hours = len(series) // per_hour
    return np.asarray(np.nanmean(series[: hours * per_hour].reshape(hours, per_hour, -1), axis=1))
