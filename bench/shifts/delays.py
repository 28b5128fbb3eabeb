"""How long after a drop detectors signal, beside the optimal CUSUM that knows the drop, and beside the rivals."""

from __future__ import annotations

import copy
from dataclasses import dataclass

import numpy as np
from scipy.optimize import brentq

from bench.shifts import rivals
from bench.shifts.figures import Figure
from bench.shifts.rivals import WARM_UP_HOURS, Rival
from bench.shifts.watching import Watch
from bench.shifts.world import (
    WINDOWS_PER_DAY,
    WINDOWS_PER_HOUR,
    World,
    alike,
    learned,
    raw_net,
    windows,
)
from worker.opinion.index.correction import Floats
from worker.opinion.shifts.control import MARGIN
from worker.opinion.shifts.limits import Limits

DROPS = (0.05, 0.10, 0.15, 0.30)
DESIGN_DROP = 0.15
HISTORY_DAYS = 28
LONGEST_DAYS = 30
SETTLING_H = 120 / 3600
INSTALLATION_KEYS = 500


@dataclass(frozen=True)
class Delays:
    """Mean hours from a drop to the signal, by who signals; at one volume and drop.

    Args:
        limit: of the optimal CUSUM, with one bucket and the settling lag.
        missed: of ours, the share of keys without a signal within 30 days; they count as 30 days.
    """

    per_hour: int
    drop: float
    limit: float
    alert_limit: float
    ours: float
    alert: float
    missed: float
    others: dict[str, float]


def optimal_h(world: World, drop: float, rate_per_day: float) -> float:
    """The delay of the CUSUM that knows the shift, on the labels as the model gives them; hours."""
    before, after = world.labels[0], world.moved(-drop).labels[0]
    # A language whose threshold is 0 never abstains: x log(x / x) is 0 there.
    divergences = np.where(after > 0, after * np.log(np.where(after > 0, after / np.maximum(before, 1e-300), 1.0)), 0.0)
    information = world.per_hour[0] * float((world.mix[0][:, None] * divergences).sum())
    between_h = 24 / rate_per_day
    b = brentq(lambda b: (np.exp(b) - b - 1) / information - between_h, 1e-6, 60)
    return float((b - 1 + np.exp(-b)) / information) + 1 / WINDOWS_PER_HOUR + SETTLING_H


def measure(per_hour: int, keys: int, seed: int) -> list[Delays]:
    """At each drop, after four weeks without."""
    random = np.random.default_rng(seed)
    world, limits = alike(keys, per_hour), Limits()
    watch = Watch(learned(world, 24, random), limits)
    history = np.empty((HISTORY_DAYS * WINDOWS_PER_DAY, keys))
    for window, labels in windows(world, range(len(history)), random, busy=0):
        watch.read(window, labels)
        history[window] = raw_net(labels)
    field = _field(world, random)
    return [_after(drop, world, (watch, history), field, random) for drop in DROPS]


def _after(
    drop: float,
    world: World,
    before: tuple[Watch, Floats],
    field: dict[str, tuple[Rival, float, int]],
    random: np.random.Generator,
) -> Delays:
    """Everybody on the same windows after a drop."""
    watch, history = copy.deepcopy(before[0]), before[1]
    watch.bank.sums[:], watch.held[:] = 0.0, False
    strict = MARGIN * watch.limits.false_alerts_per_day / INSTALLATION_KEYS
    keys, first = history.shape[1], len(history)
    signalled, alerted = np.full(keys, np.inf), np.full(keys, np.inf)
    dropped = world.moved(-drop)
    for window, labels in windows(dropped, range(first, first + LONGEST_DAYS * WINDOWS_PER_DAY), random, busy=0):
        verdict = watch.read(window, labels)
        hours = (window - first + 1) / WINDOWS_PER_HOUR
        signalled[verdict.held & np.isinf(signalled)] = hours
        alerted[verdict.held & (verdict.false_per_day <= strict) & np.isinf(alerted)] = hours
        if np.isfinite(alerted).all():
            break
    longest = LONGEST_DAYS * 24.0
    limits = optimal_h(world, drop, watch.limits.false_signals_per_key_day), optimal_h(world, drop, strict)
    return Delays(
        int(world.per_hour[0]),
        drop,
        *limits,
        ours=float(np.minimum(signalled, longest).mean()) + SETTLING_H,
        alert=float(np.minimum(alerted, longest).mean()) + SETTLING_H,
        missed=float(np.isinf(signalled).mean()),
        others=_others(dropped, before[1], field, random),
    )


def _others(
    dropped: World, history: Floats, field: dict[str, tuple[Rival, float, int]], random: np.random.Generator
) -> dict[str, float]:
    """The rivals' mean delays, hours; who needs longer than 30 days (10 at many posts) counts as that long."""
    days = LONGEST_DAYS if dropped.per_hour[0] < 500 else LONGEST_DAYS // 3
    after = [raw_net(labels) for _, labels in windows(dropped, range(days * WINDOWS_PER_DAY), random, busy=0)]
    series, found = np.vstack([history, np.stack(after)]), {}
    for name, (rival, setting, width) in field.items():
        keys = 30 if name.startswith("adwin") else series.shape[1]
        seen = rivals.hourly(series, width) if width > 1 else series
        signals = rival(seen[:, :keys], setting)[len(history) // width :]
        delay = np.where(signals.any(axis=0), signals.argmax(axis=0) + 1, len(signals)) * width / WINDOWS_PER_HOUR
        found[name] = float(delay.mean()) + SETTLING_H
    return found


def _field(world: World, random: np.random.Generator) -> dict[str, tuple[Rival, float, int]]:
    """The rivals, each tuned to our declared rate on 60 days without shifts: setting, and windows it takes as one."""
    days, rate = 60, Limits().false_signals_per_key_day
    quiet = np.stack([raw_net(labels) for _, labels in windows(world, range(days * WINDOWS_PER_DAY), random, busy=0)])
    hours = rivals.hourly(quiet, WINDOWS_PER_HOUR)
    shift = _raw_shift(world)
    field: dict[str, tuple[Rival, float, int]] = {}
    for width, series in ((1, quiet), (WINDOWS_PER_HOUR, hours)):
        name, warm_up = ("5_min", "1_hour")[width > 1], WARM_UP_HOURS * WINDOWS_PER_HOUR // width
        candidates: dict[str, tuple[Rival, tuple[float, float]]] = {
            f"page_hinkley_{name}": (lambda s, v: rivals.page_hinkley(s, v, shift / 2), (0.1, 30)),
            f"fixed_threshold_{name}": (lambda s, v, w=warm_up: rivals.fixed_threshold(s, v, w), (0.02, 2)),
            f"sigma_rule_{name}": (lambda s, v, w=warm_up: rivals.sigma_rule(s, v, w), (1, 8)),
        }
        for rival_name, (rival, edges) in candidates.items():
            expected = series.shape[1] * days * rate
            field[rival_name] = rival, rivals.tuned(rival, series, edges, expected), width
    few = quiet[:, :30]
    loose = rivals.tuned(lambda s, v: rivals.adwin(s, 1 / v), few, (1.01, 1e6), 30 * days * rate)
    field["adwin_5_min"] = (lambda s, v: rivals.adwin(s, 1 / v)), loose, 1
    return field


def _raw_shift(world: World) -> float:
    """How far uncorrected net sentiment falls when the true one falls by the design shift."""
    ends = [
        float(raw_net((one.mix[0][:, None] * one.labels[0])[None])[0]) for one in (world, world.moved(-DESIGN_DROP))
    ]
    return ends[0] - ends[1]


def figures(found: list[Delays]) -> list[Figure]:
    """Beside their targets."""
    shown = []
    for one in found:
        at = f"{one.per_hour}_per_hour.drop_{one.drop * 100:.0f}"
        most = 1.5 if one.drop == DESIGN_DROP else 2.0
        ratio, alert = one.ours / one.limit, one.alert / one.alert_limit
        shown += [
            Figure(f"delay_h.{at}", one.ours, "reported", ok=None),
            Figure(f"delay_limit_h.{at}", one.limit, "reported", ok=None),
            Figure(f"delay_to_limit.{at}", ratio, f"at most {most}", ok=ratio <= most),
            Figure(f"alert_delay_h.{at}", one.alert, "reported", ok=None),
            Figure(f"alert_delay_to_limit.{at}", alert, f"reported beside {most}", ok=None),
        ]
        for name, delay in one.others.items():
            least = {"page_hinkley": 1.0, "adwin": None}.get(name.rsplit("_", 2)[0], 1.5)
            shown.append(_faster(f"times_faster_than.{name}.{at}", delay, one, least))
    return shown


def _faster(name: str, delay: float, one: Delays, least: float | None) -> Figure:
    """How many times longer a rival needs; where even the limit is not `least` times faster, none can be."""
    times = delay / one.ours
    if least is None or delay < least * one.limit:
        return Figure(name, times, "reported" if least is None else f"{least} is beyond the limit", ok=None)
    return Figure(name, times, f"at least {least}", ok=times >= least)
