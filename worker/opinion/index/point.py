"""One displayed value of the sentiment index, with what is known of its error."""

from __future__ import annotations

import msgspec


class Estimate(msgspec.Struct, frozen=True, kw_only=True):
    """A corrected number and its 95 % interval."""

    value: float
    low: float
    high: float


class IndexPoint(msgspec.Struct, frozen=True, kw_only=True):
    """The corrected sentiment of one key in one window.

    Args:
        net: share of positive minus share of negative posts, -1 to 1.
        negative, neutral, positive: corrected shares, 0 to 1; they sum to 1.
        unbounded_net: `net` as estimated before shares were brought into their bounds: without bias in windows of any
            size, it is what detectors read.
        sampling_variance: of `unbounded_net`, from the posts alone: what differs from window to window.
        matrix_variance: of the same, from the error of the confusion matrix: equal in all windows of one model.
        posts: the weight of all posts, abstained ones too.
        effective_posts: as many independent posts would tell as much.
        empty_weight: the part of the fixed weights whose strata had no posts in the window, and are taken to have
            moved as the others have.
    """

    net: Estimate
    negative: Estimate
    neutral: Estimate
    positive: Estimate
    unbounded_net: float
    sampling_variance: float
    matrix_variance: float
    posts: float
    effective_posts: float
    empty_weight: float = 0.0
