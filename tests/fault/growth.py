"""Does something grow? A straight line through what was measured, and how sure its slope is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import sqrt
from statistics import fmean, linear_regression, median

from scipy import stats

BLOCKS = 10
"""Neighbouring samples are alike: means of so many stretches are nearly independent, single samples are not."""

FEWEST = 4


@dataclass(frozen=True)
class Slope:
    """Of y over x, with the ends of the two-sided 95 % interval."""

    value: float
    low: float
    high: float


def slope(x: Sequence[float], y: Sequence[float]) -> Slope:
    """The slope of y over x, from the means of `BLOCKS` stretches of equal length, or from samples if these are fewer.

    Raises:
        ValueError: less than `FEWEST` samples, or no two different x.
    """
    blocks = min(BLOCKS, len(x))
    if blocks < FEWEST or len(set(x)) < 2:
        raise ValueError(f"{len(x)} samples are too few for a slope")
    each = len(x) // blocks
    starts = range(len(x) - each * blocks, len(x), each)
    xs, ys = ([fmean(values[at : at + each]) for at in starts] for values in (x, y))
    line = linear_regression(xs, ys)
    left = sum((b - line.intercept - line.slope * a) ** 2 for a, b in zip(xs, ys, strict=True)) / (blocks - 2)
    error = sqrt(left / sum((a - fmean(xs)) ** 2 for a in xs))
    margin = float(stats.t.ppf(0.975, blocks - 2)) * error
    return Slope(line.slope, line.slope - margin, line.slope + margin)


def risen(values: Sequence[float]) -> float:
    """By how much the median of the last third is above that of the first."""
    third = max(1, len(values) // 3)
    return median(values[-third:]) - median(values[:third])
