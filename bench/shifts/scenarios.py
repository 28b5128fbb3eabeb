"""What must not alert: a change of mix, a flood of copies, a daily season, twice the volume; beside a control."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from dataclasses import dataclass, replace
from math import sqrt

import numpy as np
from numpy.typing import NDArray

from bench.shifts import rivals
from bench.shifts.figures import Figure, poisson
from bench.shifts.watching import Watch
from bench.shifts.world import (
    WINDOWS_PER_DAY,
    WINDOWS_PER_HOUR,
    World,
    learned,
    raw_net,
    windows,
)
from worker.opinion.index.correction import Floats
from worker.opinion.shifts.limits import Limits

NAMES = ("control", "language_mix", "copies", "daily_season", "double_volume")
PER_HOUR = 400
HISTORY_DAYS, SCENARIO_DAYS = 28, 7
FIRST, END = HISTORY_DAYS * WINDOWS_PER_DAY, (HISTORY_DAYS + SCENARIO_DAYS) * WINDOWS_PER_DAY
COPIES, COPIES_H = 1000, 2
SEASON = 0.10
LANGUAGES = (("en", "social"), ("de", "social"))
SCENARIO_KEYS = 2000
"""So many that an excess of an eighth over the control shows."""
RIVAL_KEYS, ADWIN_KEYS = 400, 60
"""The others are far slower to run, and far from the control."""
Field = dict[str, tuple[rivals.Rival, float, int]]


@dataclass(frozen=True)
class Outcome:
    """The false signals of each key in the days of a scenario, by who signals; rivals see the first keys only."""

    name: str
    signals: dict[str, NDArray[np.int64]]


@dataclass(frozen=True)
class Known:
    """What detectors have read before a scenario: our detectors, and the uncorrected series for the rivals."""

    watch: Watch
    series: Floats


def world(keys: int, more_negative: float = 0.3) -> World:
    """English, and a language of 30 % of the posts that is 30 points more negative."""
    mix = np.tile([1 - more_negative, more_negative], (keys, 1))
    true = np.tile([[0.25, 0.4, 0.35], [0.4, 0.4, 0.2]], (keys, 1, 1))
    return World.of(mix, true, np.full(keys, float(PER_HOUR)), LANGUAGES)


def measure(keys: int, seed: int) -> list[Outcome]:
    """All scenarios on the same keys; rivals are tuned to our declared rate on a quiet stretch.

    Matched: all but the season have one history, so the same baselines, and the windows of the control hold the same
    posts as those with copies, and half of those with twice the volume.
    """
    quiet = np.stack([raw_net(labels) for labels, _ in seen("control", min(keys, RIVAL_KEYS), (seed, 9), (0, END))])
    field, known = _tuned(quiet), _history("control", keys, seed)
    return [
        _outcome(name, _history(name, keys, seed) if name == "daily_season" else known, field, seed) for name in NAMES
    ]


def _history(name: str, keys: int, seed: int) -> Known:
    watch = Watch(learned(world(keys), 24, np.random.default_rng([seed, 0])), Limits())
    series, _ = _read(name, watch, (seed, 1), (0, FIRST))
    return Known(watch, series)


def _outcome(name: str, known: Known, field: Field, seed: int) -> Outcome:
    after, ours = _read(name, copy.deepcopy(known.watch), (seed, 2), (FIRST, END))
    raw, signals = np.vstack([known.series, after]), {"polyvox": ours}
    for rival_name, (rival, setting, width) in field.items():
        given = rivals.hourly(raw, width) if width > 1 else raw
        some = given[:, :ADWIN_KEYS] if rival_name == "adwin" else given
        signals[rival_name] = rival(some, setting)[FIRST // width :].sum(axis=0)
    return Outcome(name, signals)


def _read(name: str, watch: Watch, seeds: tuple[int, int], span: tuple[int, int]) -> tuple[Floats, NDArray[np.int64]]:
    """The windows of a span into our detectors: the rivals' series, and the new signals of each key."""
    keys, series = len(watch.held), []
    signals = np.zeros(keys, dtype=np.int64)
    for window, (labels, copies) in enumerate(seen(name, keys, seeds, span), start=span[0]):
        signals += watch.read(window, labels).first
        series.append(raw_net(labels[:RIVAL_KEYS] + copies[:RIVAL_KEYS]))
    return np.stack(series), signals


def seen(name: str, keys: int, seeds: tuple[int, int], span: tuple[int, int]) -> Iterator[tuple[Floats, Floats]]:
    """Labels with each story once, and those of the copies; (keys, languages, 4) each."""
    random, more = np.random.default_rng(seeds), np.random.default_rng([*seeds, 1])
    flood_at = more.integers(FIRST, END - COPIES_H * WINDOWS_PER_HOUR, keys)
    usual = world(keys)
    for window in range(*span):
        now = _changed(name, usual, window) if name == "daily_season" or window >= FIRST else usual
        at = range(window, window + 1)
        labels, copies = next(windows(now, at, random))[1], np.zeros((keys, len(LANGUAGES), 4))
        if name == "double_volume" and window >= FIRST:
            labels += next(windows(now, at, more))[1]
        if name == "copies":
            since = window - flood_at
            flooded = (since >= 0) & (since < COPIES_H * WINDOWS_PER_HOUR)
            copies[:, 0, 0] = flooded * COPIES / (COPIES_H * WINDOWS_PER_HOUR)
            labels[:, 0, 0] += since == 0
        yield labels, copies


def _changed(name: str, usual: World, window: int) -> World:
    if name == "language_mix":
        return replace(usual, mix=world(1, more_negative=0.6).mix.repeat(len(usual.mix), axis=0))
    if name == "daily_season":
        return usual.moved(SEASON * np.sin(2 * np.pi * window / WINDOWS_PER_DAY + 1))
    return usual


def _tuned(quiet: Floats) -> Field:
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
    few = quiet[:, :ADWIN_KEYS]
    return {
        "page_hinkley": (page_hinkley, rivals.tuned(page_hinkley, quiet, (0.1, 30), expected), 1),
        "fixed_threshold": (threshold, rivals.tuned(threshold, hours, (0.02, 2), expected), WINDOWS_PER_HOUR),
        "sigma_rule": (sigma, rivals.tuned(sigma, hours, (1, 8), expected), WINDOWS_PER_HOUR),
        "adwin": (adwin, rivals.tuned(adwin, few, (1.01, 1e6), few.shape[1] * days * rate), 1),
    }


def figures(found: list[Outcome]) -> list[Figure]:
    """Signals per key and week, and how many more ours are than in the control."""
    control, shown = found[0], []
    for one in found:
        for who, counts in one.signals.items():
            rate = poisson(int(counts.sum()), len(counts))
            shown.append(Figure(f"false_per_key_week.{one.name}.{who}", rate[0], "reported", None, rate[1:]))
        if one is not control:
            shown.append(_more(one.name, one.signals["polyvox"] - control.signals["polyvox"]))
    return shown


def _more(name: str, more: NDArray[np.int64]) -> Figure:
    """The mean of the differences of the same keys: a miss where its 95 % interval is above 0."""
    value, edge = float(more.mean()), 1.96 * float(more.std(ddof=1)) / sqrt(len(more))
    target = "95 % interval not above 0"
    return Figure(f"false_more_than_control.{name}", value, target, value - edge <= 0, (value - edge, value + edge))
