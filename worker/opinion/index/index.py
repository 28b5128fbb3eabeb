"""The corrected sentiment index of one key in one window, with the interval of every number."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from worker.opinion.cells import Cell
from worker.opinion.index.correction import DRAWS, NET, Confusions, Correction, Floats, nearest_shares
from worker.opinion.index.point import Estimate, IndexPoint
from worker.opinion.index.standard import Standard, by_stratum
from worker.opinion.index.tally import Tally
from worker.opinion.index.weighed import Mix, Weighed, weigh

TAILS = (0.025, 0.975)
NOISE: Floats = np.random.default_rng(1).permutation(
    np.sort(np.random.default_rng(2).standard_normal(200_000))[100 :: 200_000 // DRAWS][:DRAWS]
)
"""Quantiles of a normal distribution, shuffled: one for each draw of a matrix."""


def index(tallies: Mapping[Cell, Tally], standard: Standard, confusions: Confusions) -> IndexPoint | None:
    """The index over cells of one key; None without posts in any stratum of the standard.

    Net sentiment and shares are corrected for the confusion matrix of each language and domain and weighed with the
    standard's fixed weights. Intervals hold the sampling error, with copies and authors as clusters, and the error of
    the matrices (draws from their Dirichlet distributions); `make bench-shifts` measures that they cover 93 to 97 %.

    Args:
        tallies: of one model version; the labels of different models are not corrected alike.
    """
    strata = by_stratum(tallies)
    found = [strata.get(share.stratum, Tally()) for share in standard.shares]
    labels = np.array([tally[:4] for tally in found])
    effective = np.array([tally.effective_posts for tally in found])
    if not labels.sum():
        return None
    corrections = [confusions.correction(*share.stratum) for share in standard.shares]
    mix = mix_of(standard, corrections)
    weighed = weigh(labels, effective, mix)
    drawn = np.einsum(
        "bskd,sd->bk", np.stack([one.draws for one in corrections], axis=1), weighed.labels, optimize=True
    )
    posts = float(labels.sum())
    squares = sum(tally.cluster_squares for tally in found)
    return point_of(weighed, drawn, posts, posts**2 / squares)


def mix_of(standard: Standard, corrections: list[Correction]) -> Mix:
    """A standard as arrays."""
    return Mix(
        np.array([share.weight for share in standard.shares]),
        np.stack([one.weights for one in corrections]),
        np.array([share.labels for share in standard.shares]),
    )


def intervals(drawn: Floats, variance: Floats, effective: Floats) -> Floats:
    """The 95 % intervals from draws over matrices and a sampling variance; shape (2, ..., 4).

    Args:
        drawn: (DRAWS, ..., 4).
        variance: (..., 4).
        effective: (...), effective posts; few make the tails heavier (Student's t, Cornish-Fisher expansion).
    """
    noise = NOISE.reshape(-1, *[1] * (drawn.ndim - 1))
    freedom = np.maximum(effective - 1.0, 3.0)[..., None]
    heavy = noise + (noise**3 + noise) / (4 * freedom)
    return np.asarray(np.quantile(drawn + heavy * np.sqrt(variance), TAILS, axis=0))


def point_of(weighed: Weighed, drawn: Floats, posts: float, effective: float) -> IndexPoint:
    """Values within their bounds, intervals too; an interval always holds its value."""
    shares = nearest_shares(weighed.value[:NET])
    values = np.append(shares, shares[2] - shares[0])
    low, high = intervals(drawn, weighed.variance, np.asarray(effective))
    floor = np.array([0.0, 0.0, 0.0, -1.0])
    low = np.minimum(np.clip(low, floor, 1.0), values)
    high = np.maximum(np.clip(high, floor, 1.0), values)
    estimates = [
        Estimate(value=float(value), low=float(below), high=float(above))
        for value, below, above in zip(values, low, high, strict=True)
    ]
    return IndexPoint(
        net=estimates[NET],
        negative=estimates[0],
        neutral=estimates[1],
        positive=estimates[2],
        unbounded_net=float(weighed.value[NET]),
        sampling_variance=float(weighed.variance[NET]),
        matrix_variance=float(drawn[:, NET].var()),
        posts=posts,
        effective_posts=effective,
        empty_weight=float(weighed.empty),
    )
