"""When the CUSUMs of many keys stand high enough to say that a key has shifted."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from worker.opinion.index.correction import Floats
from worker.opinion.shifts.bank import Bank
from worker.opinion.shifts.limits import Limits
from worker.opinion.shifts.rates import false_per_day

RELEASE = 10.0
"""A signal holds until the evidence has fallen back to what chance gives so many times as often as declared."""
Flags = NDArray[np.bool_]


class Verdict(NamedTuple):
    """Arrays of shape (keys,).

    Args:
        held: the key signals.
        first: it did not in the window before.
        false_per_day: of its strongest CUSUM.
        strongest: index of that CUSUM among directions times design shifts.
    """

    held: Flags
    first: Flags
    false_per_day: Floats
    strongest: NDArray[np.intp]


def judge(bank: Bank, held: Flags, quiet: Flags, limits: Limits) -> Verdict:
    """After each window. CUSUMs of quiet keys, and of those whose signal ends, are set to 0 in place.

    Args:
        held: the keys that signalled after the window before.
        quiet: keys that are warming up or cooling down.
    """
    bank.sums[quiet] = 0.0
    rates = false_per_day(bank.sums, bank.pace, limits.window_s).reshape(len(held), -1)
    strongest = rates.argmin(axis=1)
    least = rates[np.arange(len(held)), strongest]
    over = ~quiet & (least <= limits.false_signals_per_key_day)
    ends = held & (quiet | (least >= RELEASE * limits.false_signals_per_key_day))
    bank.sums[ends] = 0.0
    return Verdict((held | over) & ~ends, over & ~held, least, strongest)
