"""How often detectors are wrong: signals of single keys, alerts of the installation, with keys that share posts."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from bench.shifts.figures import Figure, poisson
from bench.shifts.watching import Watch
from bench.shifts.world import WINDOWS_PER_DAY, Learned, World, varied, windows
from worker.opinion.index.correction import Floats
from worker.opinion.shifts.limits import DAY_S, Limits

OF_GROUP = 20
"""A source class is the sum of so many keys of a topic each; entities are in half the posts of some topic."""


VOLUMES = ((100, 270), (270, 740), (740, 2000))


@dataclass(frozen=True)
class Installation:
    """Keys of topics, and keys made from their posts."""

    world: World
    summed: Floats
    halved: Floats

    @classmethod
    def of(cls, keys: int, random: np.random.Generator, *, shared: bool) -> Installation:
        """`keys` in all; with `shared`, a fifth of them see posts that others see too."""
        topics = keys * 4 // 5 if shared else keys
        world = varied(topics, random)
        groups = topics // OF_GROUP if shared else 0
        summed = np.repeat(np.eye(groups), OF_GROUP, axis=1) if groups else np.zeros((0, topics))
        return cls(world, summed, np.arange(keys - topics - groups) * 3 % topics)

    def standard(self, random: np.random.Generator) -> Learned:
        """Of all keys, as a day of posts would give it."""
        posts = random.poisson(self.world.mix * self.world.per_hour[:, None] * 24)
        labels = self.seen(random.multinomial(posts, self.world.labels).astype(np.float64), random)
        return Learned.of(labels, self.world.functionals)

    def seen(self, labels: Floats, random: np.random.Generator) -> Floats:
        """The labels of all keys, from those of the topics."""
        if not len(self.summed):
            return labels
        halves = random.binomial(labels[self.halved].astype(np.int64), 0.5).astype(np.float64)
        return np.concatenate([labels, np.tensordot(self.summed, labels, axes=1), halves])


def measure(keys: int, days: int, seed: int, *, shared: bool) -> list[Figure]:
    """Nothing ever shifts; count what is said."""
    random = np.random.default_rng(seed)
    installation, limits = Installation.of(keys, random, shared=shared), Limits()
    alerts: list[tuple[int, list[int]]] = []
    watch = Watch(installation.standard(random), limits, alerts)
    signals = np.zeros(keys)
    for window, labels in windows(installation.world, range(days * WINDOWS_PER_DAY), random):
        signals += watch.read(window, installation.seen(labels, random)).first
    watched_days = days - limits.warm_up_s / DAY_S
    kind = "keys_sharing_posts" if shared else "independent_keys"
    declared = watched_days * limits.false_signals_per_key_day
    ratio = poisson(int(signals.sum()), keys * declared)
    per_day = poisson(sum(len(chosen) for _, chosen in alerts), watched_days)
    together = max((len(chosen) for _, chosen in alerts), default=0)
    figures = [
        Figure(f"signals_to_declared.{kind}", ratio[0], "0.8 to 1.2", ok=0.8 <= ratio[0] <= 1.2, interval=ratio[1:]),
        Figure(
            f"alerts_per_day.{kind}",
            per_day[0],
            f"at most {limits.false_alerts_per_day:g}",
            ok=per_day[0] <= limits.false_alerts_per_day,
            interval=per_day[1:],
        ),
        Figure(f"most_alerts_in_one_window.{kind}", together, "reported", ok=None),
    ]
    if shared:
        return figures
    return figures + [_of_volume(low, high, signals, installation.world.per_hour, declared) for low, high in VOLUMES]


def _of_volume(low: float, high: float, signals: Floats, per_hour: Floats, declared: float) -> Figure:
    """The same as for all keys, for those of some volume."""
    chosen = (per_hour >= low) & (per_hour < high)
    ratio = poisson(int(signals[chosen].sum()), max(chosen.sum(), 1) * declared)
    name = f"signals_to_declared.{low}_to_{high}_posts_per_hour.independent_keys"
    return Figure(name, ratio[0], "reported", ok=None, interval=ratio[1:])
