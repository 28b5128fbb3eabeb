"""A detector's state as a bank of one key, and back."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from worker.opinion.shifts.bank import Bank
from worker.opinion.shifts.season import TERMS
from worker.opinion.shifts.state import State

UPPER = np.triu_indices(TERMS)


def unpack(state: State) -> Bank:
    """The arrays of a state; those of a new detector for one that has seen nothing."""
    bank = Bank.new(1)
    if not state.mean:
        return bank
    bank.mean[0] = state.mean
    bank.covariance[0][UPPER] = state.covariance
    bank.covariance[0].T[UPPER] = state.covariance
    for name in ("sums", "since_s", "excess", "information"):
        getattr(bank, name).flat = getattr(state, name)
    for name in ("pace", "dispersion", "observed_s"):
        getattr(bank, name)[0] = getattr(state, name)
    return bank


def packed(bank: Bank) -> dict[str, Any]:
    """The fields of a state that are arrays in a bank of one key."""
    return {
        "mean": _floats(bank.mean),
        "covariance": _floats(bank.covariance[0][UPPER]),
        "sums": _floats(bank.sums),
        "since_s": tuple(int(value) for value in bank.since_s.flat),
        "excess": _floats(bank.excess),
        "information": _floats(bank.information),
        "pace": float(bank.pace[0]),
        "dispersion": float(bank.dispersion[0]),
        "observed_s": int(bank.observed_s[0]),
    }


def _floats(values: NDArray[np.float64]) -> tuple[float, ...]:
    return tuple(float(value) for value in values.flat)
