"""What one detector remembers between two windows: small, and plain to store."""

from __future__ import annotations

from typing import Literal

import msgspec

from worker.opinion.shifts.words import Annotation

Phase = Literal["warming_up", "watching", "signalled", "cooling_down"]


class State(msgspec.Struct, frozen=True, kw_only=True):
    """The detector of one key. `State()` is one that has seen nothing.

    Args:
        phase: `warming_up` until the baseline is known; `signalled` from a signal until the evidence has gone.
        epoch: how often it has started anew (after an alert, or with another model version).
        model_versions: those of the windows that the baseline was learned from.
        read_until_s: windows that begin earlier have been read; Unix seconds.
        observed_s: how much event time the baseline has seen, windows that were skipped left out.
        level_s: the same, since its level was last learned from nothing.
        cool_until_s: no signal before this; Unix seconds.
        mean: level and seasonal terms of the baseline, in units of the index.
        covariance: of `mean`, its upper triangle row by row.
        sums: the CUSUMs, drops first, by design shift.
        since_s: when each CUSUM last stood at 0, Unix seconds.
        excess: the sum of residuals of each CUSUM since then, weighted with `information`.
        information: the sum of 1 / variance of each CUSUM since then.
        pace: a running mean of 1 / variance of a window: how fast evidence can gather.
        dispersion: a running mean of squared standardised residuals; 1 when posts alone explain the noise.
        annotations: why the last window was skipped, or what to know of the baseline.
    """

    phase: Phase = "warming_up"
    epoch: int = 0
    model_versions: tuple[str, ...] = ()
    read_until_s: int = 0
    observed_s: int = 0
    level_s: int = 0
    cool_until_s: int = 0
    mean: tuple[float, ...] = ()
    covariance: tuple[float, ...] = ()
    sums: tuple[float, ...] = ()
    since_s: tuple[int, ...] = ()
    excess: tuple[float, ...] = ()
    information: tuple[float, ...] = ()
    pace: float = 0.0
    dispersion: float = 1.0
    annotations: tuple[Annotation, ...] = ()
