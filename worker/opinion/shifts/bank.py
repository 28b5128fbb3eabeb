"""The detectors of many keys, one window further: baseline, CUSUMs and what they rest on, as arrays.

The baseline is a linear model of the week, updated window by window (recursive least squares with slow forgetting). A
window is compared with what the ones before it predict, and standardised with its own variance plus that of the
prediction: such residuals are independent and of variance 1 however short the history (Brown, Durbin and Evans 1975),
so an estimated baseline raises no more false signals than a known one. Each CUSUM sums log-likelihood ratios of one
design shift in one direction.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from worker.opinion.index.correction import Floats
from worker.opinion.shifts.limits import Limits
from worker.opinion.shifts.rates import DESIGN_SHIFTS
from worker.opinion.shifts.season import TERMS, prior_covariance, waves

SIGNS: Floats = np.array([-1.0, 1.0])
"""Drops first."""
PACE_WINDOWS = 288
DISPERSION_WINDOWS = 2000
PRIOR_WINDOWS = 200
"""So many windows without noise of its own are believed of a new key."""
LEVEL_AFTER_SHIFT_VARIANCE = 0.05**2
"""How far the level after an alert may be from where the shift seems to have taken it."""
LARGEST_SQUARE = 9.0
"""Of a standardised residual: a sudden shift is not noise."""
CHANCE = 3.0
"""Noise beyond what posts explain counts only beyond so many standard errors of its estimate."""


@dataclass(slots=True)
class Bank:
    """See `State` for the fields; here with a first axis of keys. CUSUMs: (keys, directions, design shifts)."""

    mean: Floats
    covariance: Floats
    sums: Floats
    since_s: NDArray[np.int64]
    excess: Floats
    information: Floats
    pace: Floats
    dispersion: Floats
    observed_s: NDArray[np.int64]

    @classmethod
    def new(cls, keys: int) -> Bank:
        """Detectors that have seen nothing."""
        cusums = (keys, len(SIGNS), len(DESIGN_SHIFTS))
        return cls(
            mean=np.zeros((keys, TERMS)),
            covariance=np.broadcast_to(prior_covariance(), (keys, TERMS, TERMS)).copy(),
            sums=np.zeros(cusums),
            since_s=np.zeros(cusums, dtype=np.int64),
            excess=np.zeros(cusums),
            information=np.zeros(cusums),
            pace=np.zeros(keys),
            dispersion=np.ones(keys),
            observed_s=np.zeros(keys, dtype=np.int64),
        )


@dataclass(frozen=True, slots=True)
class Window:
    """What all keys have in one window.

    Args:
        value, variance: (keys,), the index and its sampling variance.
        read: (keys,), False leaves a key as it is.
    """

    start_s: int
    value: Floats
    variance: Floats
    read: NDArray[np.bool_]


def advance(bank: Bank, window: Window, limits: Limits) -> None:
    """Read one window into the bank, in place."""
    at = waves(window.start_s + limits.window_s / 2)
    forgetting = 1 / limits.kept
    spread = bank.covariance @ at * forgetting
    memory = np.minimum(bank.observed_s / limits.window_s + PRIOR_WINDOWS, DISPERSION_WINDOWS)
    scale = np.maximum(bank.dispersion - CHANCE * np.sqrt(2 / memory), 1.0)
    variance = np.where(window.read, window.variance * scale + spread @ at, 1.0)
    residual = np.where(window.read, window.value - bank.mean @ at, 0.0)
    _accumulate(bank, window, residual, variance)
    squares = scale * np.minimum(residual**2 / variance, LARGEST_SQUARE)
    bank.dispersion += np.where(window.read, (squares - bank.dispersion) / memory, 0.0)
    faster = np.where(bank.pace == 0, 1.0, 1 / PACE_WINDOWS)
    bank.pace += np.where(window.read, faster * (1 / variance - bank.pace), 0.0)
    gain = np.where(window.read[:, None], spread / variance[:, None], 0.0)
    bank.mean += gain * residual[:, None]
    bank.covariance *= np.where(window.read, forgetting, 1.0)[:, None, None]
    bank.covariance -= gain[:, :, None] * spread[:, None, :]
    bank.observed_s += np.where(window.read, limits.window_s, 0)


def _accumulate(bank: Bank, window: Window, residual: Floats, variance: Floats) -> None:
    """Add one window to every CUSUM; one that falls to 0 begins anew with the next window."""
    information = np.where(window.read, 1 / variance, 0.0)[:, None, None]
    signed = SIGNS[:, None] * DESIGN_SHIFTS
    gained = information * signed * (residual[:, None, None] - signed / 2)
    begins = bank.sums <= 0
    bank.since_s = np.where(begins & window.read[:, None, None], window.start_s, bank.since_s)
    bank.excess = np.where(begins, 0.0, bank.excess) + information * residual[:, None, None]
    bank.information = np.where(begins, 0.0, bank.information) + information
    bank.sums = np.maximum(bank.sums + gained, 0.0)


def restart(bank: Bank, keys: NDArray[np.intp], size: Floats) -> None:
    """After an alert: the level is where the shift has taken it, give or take; the CUSUMs begin at 0. In place."""
    bank.mean[keys, 0] += size
    bank.covariance[keys, 0, 0] += LEVEL_AFTER_SHIFT_VARIANCE
    bank.sums[keys] = 0.0
