"""A figure beside its target, and the intervals of counts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from scipy import stats


@dataclass(frozen=True)
class Figure:
    """One measured number.

    Args:
        ok: whether the target is met; None for figures that are only reported.
        interval: 95 %, where one is known.
    """

    name: str
    value: float
    target: str
    ok: bool | None
    interval: tuple[float, float] | None = None

    def summary(self) -> dict[str, Any]:
        """For the JSON line."""
        shown: dict[str, Any] = {"value": _short(self.value), "target": self.target}
        if self.interval is not None:
            shown["interval"] = [_short(edge) for edge in self.interval]
        return shown if self.ok is None else {**shown, "ok": self.ok}


def poisson(count: int, exposure: float) -> tuple[float, float, float]:
    """A rate and its exact 95 % interval."""
    low = stats.chi2.ppf(0.025, 2 * count) / 2 if count else 0.0
    return count / exposure, float(low) / exposure, float(stats.chi2.ppf(0.975, 2 * count + 2)) / 2 / exposure


def share(count: int, of: int) -> tuple[float, float, float]:
    """A share and its exact 95 % interval (Clopper and Pearson)."""
    found = stats.binomtest(count, of).proportion_ci(0.95)
    return count / of, float(found.low), float(found.high)


def _short(value: float) -> float:
    return float(f"{value:.4g}")
