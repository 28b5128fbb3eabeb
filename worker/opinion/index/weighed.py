"""The index of many windows at once, without intervals: value and sampling variance of every target."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from worker.opinion.index.correction import Floats

USUAL_POSTS = 20.0
"""The usual labels count as so many posts in a stratum's variance, which would else be that of a handful of posts."""
EXACT_POSTS = 50.0
"""A stratum has its whole fixed weight in a window where it has so many effective posts times its weight, and less in
proportion to its posts below: fixed weights on a handful of posts would be mostly noise."""


class Mix(NamedTuple):
    """A standard and its corrections as arrays.

    Args:
        weights: (..., strata), sum to 1.
        functionals: (..., strata, targets, 4 labels).
        usual: (..., strata, 4 labels), the labels of the standard.
    """

    weights: Floats
    functionals: Floats
    usual: Floats


class Weighed(NamedTuple):
    """What a window says.

    Args:
        value, variance: (..., targets).
        labels: (..., strata, 4), what the functionals are applied to: usual labels, moved as the window's have moved.
        empty: (...), the fixed weight of the strata without posts.
    """

    value: Floats
    variance: Floats
    labels: Floats
    empty: Floats


def known_better(usual: Floats, behind: Floats, labels: Floats, kept: float) -> tuple[Floats, Floats]:
    """Usual labels, and the weight of the posts behind them, after one more window.

    Args:
        usual: (..., 4), shares that sum to 1.
        behind: (...), weight of the posts that they are known from, above 0.
        labels: (..., 4), weights of the window's labels.
        kept: the part of `behind` that the window leaves.
    """
    remembered = behind * kept
    posts = remembered + labels.sum(axis=-1)
    return (remembered[..., None] * usual + labels) / posts[..., None], posts


def weigh(labels: Floats, effective: Floats, mix: Mix) -> Weighed:
    """Correct and weigh.

    A window tells how far each stratum is from its usual value; the mean of that, with the fixed weights, is added to
    the value of the standard. A stratum without posts, or with part of the posts that its weight asks for, is taken to
    have moved as the others have: neither is its weight lent to strata of another level, nor is it held to stand still.

    Args:
        labels: (..., strata, 4 labels), weights of labels.
        effective: (..., strata), effective posts.
        mix: broadcasts against both.
    """
    posts = labels.sum(axis=-1, keepdims=True)
    shares = np.where(posts > 0, labels / np.where(posts > 0, posts, 1.0), mix.usual)
    weights = np.minimum(mix.weights, effective / EXACT_POSTS)
    weights = (weights / np.maximum(weights.sum(axis=-1, keepdims=True), 1e-300))[..., None]
    moved = mix.weights[..., None] * mix.usual + weights * (shares - mix.usual)
    trust = effective[..., None]
    blended = (trust * shares + USUAL_POSTS * mix.usual) / (trust + USUAL_POSTS)
    mean = np.einsum("...skd,...sd->...sk", mix.functionals, blended)
    second = np.einsum("...skd,...sd->...sk", mix.functionals**2, blended)
    # The blended mean has error of its own: without this (Bessel's correction) variances are up to 1.3 % too small.
    own = trust / (trust + USUAL_POSTS)
    variances = (second - mean**2) / np.maximum(trust - own**2, 1.0)
    return Weighed(
        np.einsum("...skd,...sd->...k", mix.functionals, moved),
        (weights**2 * variances).sum(axis=-2),
        moved,
        (mix.weights * (posts[..., 0] == 0)).sum(axis=-1),
    )
