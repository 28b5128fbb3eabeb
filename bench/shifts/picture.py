"""Draws one shift: the index with its interval, the evidence with its limit, the alert."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from matplotlib.figure import Figure as Drawing

from bench.shifts.delays import HISTORY_DAYS
from bench.shifts.watching import Watch
from bench.shifts.world import STRATA, WINDOWS_PER_DAY, WINDOWS_PER_HOUR, alike, learned, published, windows
from worker.opinion.index.correction import NET, Floats
from worker.opinion.index.index import intervals
from worker.opinion.index.weighed import Mix, weigh
from worker.opinion.shifts.control import MARGIN
from worker.opinion.shifts.limits import Limits

PER_HOUR, DROP, KEYS = 400, 0.15, 500
BEFORE_H, AFTER_H = 36, 12


def draw(path: Path, seed: int) -> None:
    """A key of 400 posts an hour that drops by 15 points, among 500 keys."""
    random, limits = np.random.default_rng(seed), Limits()
    world = alike(1, PER_HOUR)
    watch = Watch(learned(world, 24, random), limits)
    first = HISTORY_DAYS * WINDOWS_PER_DAY
    for window, labels in windows(world, range(first - BEFORE_H * WINDOWS_PER_HOUR), random, busy=0):
        watch.read(window, labels)
    seen, rates = [], []
    for start, stop, now in (
        (first - BEFORE_H * WINDOWS_PER_HOUR, first, world),
        (first, first + AFTER_H * WINDOWS_PER_HOUR, world.moved(-DROP)),
    ):
        for window, labels in windows(now, range(start, stop), random, busy=0):
            rates.append(float(watch.read(window, labels).false_per_day[0]))
            seen.append(labels[0])
    _plot(
        path, *_hours(np.stack(seen), watch.learned.mix), np.array(rates), MARGIN * limits.false_alerts_per_day / KEYS
    )


def _hours(labels: Floats, mix: Mix) -> tuple[Floats, Floats]:
    """Net sentiment of whole hours and its interval, (hours,) and (2, hours)."""
    summed = labels.reshape(-1, WINDOWS_PER_HOUR, *labels.shape[1:]).sum(axis=1)
    weighed = weigh(summed, summed.sum(axis=-1), Mix(mix.weights[0], mix.functionals, mix.usual[0]))
    draws = np.stack([published().correction(*stratum).draws[:, NET : NET + 1] for stratum in STRATA], axis=1)
    drawn = np.einsum("bskd,hsd->bhk", draws, weighed.labels, optimize=True)
    return weighed.value[:, 0], intervals(drawn, weighed.variance, summed.sum(axis=(-1, -2)))[..., 0]


def _plot(path: Path, value: Floats, interval: Floats, rates: Floats, limit: float) -> None:
    drawing = Drawing(figsize=(8, 4.6), dpi=80, layout="constrained")
    index, evidence = drawing.subplots(2, 1, sharex=True, height_ratios=(2, 1))
    hours = np.arange(len(value)) - BEFORE_H + 0.5
    ends = (np.arange(len(rates)) + 1) / WINDOWS_PER_HOUR - BEFORE_H
    alert = float(ends[np.flatnonzero((rates <= limit) & (ends > 0))[0]])
    index.fill_between(hours, interval[0], interval[1], color="#c6dbef", label="95 % interval, matrix error included")
    index.plot(hours, value, color="#08519c", label="corrected net sentiment, by the hour")
    index.set_ylabel("net sentiment")
    evidence.semilogy(ends, rates, color="#444444")
    evidence.axhline(limit, color="#a50f15", linestyle="--", label="limit: 1 false alert a day over 500 keys")
    evidence.invert_yaxis()
    evidence.set_ylabel("false signals\na day, this strong")
    evidence.set_xlabel("hours since the drop of 15 points")
    for axes, place in ((index, "lower left"), (evidence, "upper left")):
        axes.axvline(0, color="#999999", linestyle=":")
        axes.axvline(alert, color="#a50f15")
        axes.spines[["top", "right"]].set_visible(False)
        axes.legend(frameon=False, loc=place, fontsize=8)
    index.annotate(f" alert after {alert:.1f} h", (alert, float(interval.max())), color="#a50f15", fontsize=9)
    drawing.savefig(path)
