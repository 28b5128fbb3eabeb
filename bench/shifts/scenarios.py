"""What must not alert: a change of mix, a flood of copies, a daily season, twice the volume; beside a control."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from math import sqrt

import numpy as np

from bench.shifts import rivals
from bench.shifts.figures import Figure
from bench.shifts.watching import Watch
from bench.shifts.world import (
    STRATA,
    WINDOWS_PER_DAY,
    WINDOWS_PER_HOUR,
    World,
    learned_mix,
    raw_net,
    windows,
)
from worker.opinion.index.correction import Floats
from worker.opinion.shifts.limits import Limits

NAMES = ("control", "language_mix", "copies", "daily_season", "double_volume")
PER_HOUR = 400
HISTORY_DAYS, SCENARIO_DAYS = 28, 7
COPIES, COPIES_H = 1000, 2
SEASON = 0.10
NEGATIVE = STRATA.index(("de", "social"))


@dataclass(frozen=True)
class Outcome:
    """False signals in the days of a scenario, by who signals, over `keys` keys."""

    name: str
    keys: int
    signals: dict[str, int]


def world(keys: int, more_negative: float = 0.3) -> World:
    """English, and a language of 30 % of the posts that is 30 points more negative."""
    mix = np.zeros((keys, len(STRATA)))
    mix[:, 0], mix[:, NEGATIVE] = 1 - more_negative, more_negative
    true = np.tile([0.25, 0.4, 0.35], (keys, len(STRATA), 1))
    true[:, NEGATIVE] = [0.4, 0.4, 0.2]
    return World.of(mix, true, np.full(keys, float(PER_HOUR)))


def measure(keys: int, seed: int) -> list[Outcome]:
    """All scenarios on the same random numbers; rivals are tuned to our declared rate on a quiet stretch."""
    quiet = np.stack([seen for _, _, seen in _windows("control", keys, np.random.default_rng([seed, 9]))])
    field = _tuned(quiet)
    return [_outcome(name, keys, seed, field) for name in NAMES]


def _outcome(name: str, keys: int, seed: int, field: dict[str, tuple[rivals.Rival, float, int]]) -> Outcome:
    random = np.random.default_rng([seed, 1])
    watch, first = Watch(learned_mix(world(keys), 24, random), Limits()), HISTORY_DAYS * WINDOWS_PER_DAY
    signals, series = {"polyvox": 0}, []
    for window, labels, seen in _windows(name, keys, random):
        verdict = watch.read(window, labels)
        signals["polyvox"] += int(verdict.first.sum()) if window >= first else 0
        series.append(seen)
    raw = np.stack(series)
    for rival_name, (rival, setting, width) in field.items():
        given = rivals.hourly(raw, width) if width > 1 else raw
        some = given[:, :60] if rival_name == "adwin" else given
        count = int(rival(some, setting)[first // width :].sum())
        signals[rival_name] = round(count * keys / some.shape[1])
    return Outcome(name, keys, signals)


def _windows(name: str, keys: int, random: np.random.Generator) -> Iterator[tuple[int, Floats, Floats]]:
    """Window, labels with each story once, and uncorrected net sentiment with all copies."""
    first, end = HISTORY_DAYS * WINDOWS_PER_DAY, (HISTORY_DAYS + SCENARIO_DAYS) * WINDOWS_PER_DAY
    flood_at = random.integers(first, end - COPIES_H * WINDOWS_PER_HOUR, keys)
    usual = world(keys)
    for window in range(end):
        now = _changed(name, usual, window) if name == "daily_season" or window >= first else usual
        labels = next(windows(now, range(window, window + 1), random))[1]
        copies = np.zeros((keys, len(STRATA), 4))
        if name == "copies":
            since = window - flood_at
            copies[:, 0, 0] = (since >= 0) & (since < COPIES_H * WINDOWS_PER_HOUR)
            labels[:, 0, 0] += since == 0
        yield window, labels, raw_net(labels + copies * COPIES / (COPIES_H * WINDOWS_PER_HOUR))


def _changed(name: str, usual: World, window: int) -> World:
    if name == "language_mix":
        return replace(usual, mix=world(1, more_negative=0.6).mix.repeat(len(usual.mix), axis=0))
    if name == "double_volume":
        return replace(usual, per_hour=usual.per_hour * 2)
    if name == "daily_season":
        return usual.moved(SEASON * np.sin(2 * np.pi * window / WINDOWS_PER_DAY + 1))
    return usual


def _tuned(quiet: Floats) -> dict[str, tuple[rivals.Rival, float, int]]:
    hours = rivals.hourly(quiet, WINDOWS_PER_HOUR)
    days, rate = HISTORY_DAYS + SCENARIO_DAYS, Limits().false_signals_per_key_day
    warm_up = rivals.WARM_UP_HOURS

    def page_hinkley(series: Floats, threshold: float) -> rivals.Signals:
        return rivals.page_hinkley(series, threshold, 0.04)

    def threshold(series: Floats, distance: float) -> rivals.Signals:
        return rivals.fixed_threshold(series, distance, warm_up)

    def sigma(series: Floats, times: float) -> rivals.Signals:
        return rivals.sigma_rule(series, times, warm_up)

    def adwin(series: Floats, inverse_delta: float) -> rivals.Signals:
        return rivals.adwin(series, 1 / inverse_delta)

    expected = quiet.shape[1] * days * rate
    few = quiet[:, :60]
    return {
        "page_hinkley": (page_hinkley, rivals.tuned(page_hinkley, quiet, (0.1, 30), expected), 1),
        "fixed_threshold": (threshold, rivals.tuned(threshold, hours, (0.02, 2), expected), WINDOWS_PER_HOUR),
        "sigma_rule": (sigma, rivals.tuned(sigma, hours, (1, 8), expected), WINDOWS_PER_HOUR),
        "adwin": (adwin, rivals.tuned(adwin, few, (1.01, 1e6), few.shape[1] * days * rate), 1),
    }


def figures(found: list[Outcome]) -> list[Figure]:
    """Signals per key and week; ours must not be above the control's by more than chance explains."""
    control = found[0]
    shown = []
    for one in found:
        for who, count in one.signals.items():
            base = control.signals[who]
            ok = count - base <= 1.96 * sqrt(max(count + base, 1)) if who == "polyvox" and one is not control else None
            target = f"not above {base / one.keys:.3g}" if ok is not None else "reported"
            edge = 1.96 * sqrt(max(count, 1)) / one.keys
            rate = count / one.keys
            shown.append(
                Figure(f"false_per_key_week.{one.name}.{who}", rate, target, ok, (max(rate - edge, 0), rate + edge))
            )
    return shown
