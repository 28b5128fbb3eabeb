"""A simulated installation: keys with their mixes, true sentiment and volumes, and the labels of each window."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from worker.opinion.index.correction import NET, Confusions, Floats
from worker.opinion.index.weighed import Mix
from worker.settings import REPOSITORY

STRATA = (
    ("en", "social"),
    ("en", "financial"),
    ("de", "social"),
    ("ja", "social"),
    ("es", "social"),
    ("es", "financial"),
)
WINDOW_S = 300
WINDOWS_PER_HOUR = 3600 // WINDOW_S
WINDOWS_PER_DAY = 24 * WINDOWS_PER_HOUR


def published() -> Confusions:
    """The confusion matrices of the shipped model."""
    rows = json.loads((REPOSITORY / "triton_models/analyzer/1/calibration.json").read_text())["confusions"]
    return Confusions.of(
        [(row["language"], row["domain"], tuple(map(tuple, row["counts"])), row["pooled"]) for row in rows]
    )


@dataclass(frozen=True)
class World:
    """Keys.

    Args:
        mix: (keys, strata), the shares of the posts, rows sum to 1.
        true: (keys, strata, 3), true shares of negative, neutral, positive.
        per_hour: (keys,), posts.
        matrices: (strata, 3, 4).
        functionals: (strata, 1, 4), of net sentiment.
    """

    mix: Floats
    true: Floats
    per_hour: Floats
    matrices: Floats
    functionals: Floats

    @classmethod
    def of(cls, mix: Floats, true: Floats, per_hour: Floats, strata: Sequence[tuple[str, str]] = STRATA) -> World:
        """With the shipped matrices of the strata."""
        corrections = [published().correction(*stratum) for stratum in strata]
        return cls(
            mix,
            true,
            per_hour,
            np.stack([one.matrix for one in corrections]),
            np.stack([one.weights[NET : NET + 1] for one in corrections]),
        )

    @property
    def labels(self) -> Floats:
        """(keys, strata, 4), the shares of labels that the model gives."""
        return np.einsum("ksc,scd->ksd", self.true, self.matrices)

    def moved(self, by: float) -> World:
        """With so much net sentiment moved from negative to positive posts, in every stratum."""
        return World(
            self.mix, self.true + np.array([-by / 2, 0, by / 2]), self.per_hour, self.matrices, self.functionals
        )


def alike(keys: int, per_hour: float) -> World:
    """Keys of one kind: four strata, a third of the posts negative, a third positive."""
    mix = np.tile([0.4, 0.2, 0.2, 0.2, 0.0, 0.0], (keys, 1))
    return World.of(mix, np.tile([0.3, 0.4, 0.3], (keys, len(STRATA), 1)), np.full(keys, per_hour))


def varied(keys: int, random: np.random.Generator) -> World:
    """Keys of one to four strata, of any sentiment, with 100 to 2,000 posts an hour."""
    mix = random.dirichlet(np.full(len(STRATA), 0.8), keys)
    mix = np.where(mix < 0.1, 0.0, mix)
    true = random.dirichlet([6.0, 8.0, 6.0], (keys, len(STRATA)))
    return World.of(mix / mix.sum(axis=1, keepdims=True), true, np.exp(random.uniform(*np.log([100, 2000]), keys)))


def windows(world: World, at: range, random: np.random.Generator, busy: float = 0.5) -> Iterator[tuple[int, Floats]]:
    """The labels of each window, (keys, strata, 4); posts an hour swing by `busy` over the day."""
    shares = world.labels
    shares /= shares.sum(axis=-1, keepdims=True)
    for window in at:
        factor = 1 + busy * np.sin(2 * np.pi * window / WINDOWS_PER_DAY)
        posts = random.poisson(world.mix * world.per_hour[:, None] * factor / WINDOWS_PER_HOUR)
        yield window, random.multinomial(posts, shares).astype(np.float64)


@dataclass(frozen=True)
class Learned:
    """What the first hours have taught of each key.

    Args:
        posts: (keys, strata), on which the usual labels rest.
    """

    mix: Mix
    posts: Floats

    @classmethod
    def of(cls, labels: Floats, functionals: Floats) -> Learned:
        """From the labels of those hours, (keys, strata, 4)."""
        counted = labels + 1e-9
        posts = labels.sum(axis=-1)
        mix = Mix(posts / posts.sum(axis=1, keepdims=True), functionals, counted / counted.sum(axis=-1, keepdims=True))
        return cls(mix, counted.sum(axis=-1))


def learned(world: World, hours: float, random: np.random.Generator) -> Learned:
    """The standard that so many hours of posts would give."""
    posts = random.poisson(world.mix * world.per_hour[:, None] * hours)
    return Learned.of(random.multinomial(posts, world.labels).astype(np.float64), world.functionals)


def raw_net(labels: Floats) -> Floats:
    """Net sentiment as it is without correction or weights; NaN without labels. (keys,)."""
    summed = labels.sum(axis=-2)
    labelled = summed[..., :3].sum(axis=-1)
    return (summed[..., 2] - summed[..., 0]) / np.where(labelled > 0, labelled, np.nan)
