"""Corrects shares of labels for what a model is known to confuse, and knows how well that is known.

With `m` the confusion matrix (rows: true classes, columns: labels, the last abstained) and `p` the true shares, labels
have the shares `q = p m`. Four labels tell three classes more than enough, so among all `a` with `m a = c` the one with
the least variance gives the unbiased estimate `a q` of `c p` (generalised least squares, Aitken 1935; "adjusted count"
in quantification). It is linear in the labels: windows of any size are unbiased, and a shift of the index is never an
effect of bounds. Shares leave [0, 1] in small windows; what is displayed is then the nearest point of the simplex.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from math import sqrt

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Counts = tuple[tuple[int, ...], ...]

TARGETS: Floats = np.array([[1, 0, 0], [0, 1, 0], [0, 0, 1], [-1, 0, 1]], dtype=np.float64)
"""What is estimated: the shares of negative, neutral and positive, and net sentiment."""
NET = 3
DRAWS = 999
PRIOR_COUNT = 0.25
"""One post of each class, spread over the four labels."""
SMALLEST_SHARE = 0.02
"""Added to each label's expected share where it weighs the least squares: a label never seen must not rule them."""
SINGULAR = 1e-3
"""Added to the diagonal of the normal equations, relative to its mean: a model that tells nothing gives wide intervals
and not an error."""


def functionals(matrix: Floats) -> Floats:
    """The weights of the labels in each target.

    Args:
        matrix: shape (..., 3, 4), rows sum to 1.

    Returns:
        Shape (..., 4 targets, 4 labels).
    """
    expected = matrix.mean(axis=-2, keepdims=True) + SMALLEST_SHARE
    weighed = matrix / expected
    normal = weighed @ np.swapaxes(matrix, -1, -2)
    ridge = SINGULAR**2 * np.trace(normal, axis1=-2, axis2=-1)[..., None, None] * np.eye(3)
    return np.asarray(TARGETS @ np.linalg.solve(normal + ridge, weighed))


@dataclass(frozen=True, slots=True, eq=False)
class Correction:
    """What to do with the labels of one language and domain.

    Args:
        matrix: (3, 4), the confusion matrix, rows sum to 1.
        weights: (4, 4), see `functionals`.
        draws: (DRAWS, 4, 4): the same for matrices that the counts would also be likely under (rows drawn from the
            Dirichlet distribution of their counts). Two uses of one matrix have the same draws: its error is one.
            Those of two matrices are independent.
    """

    matrix: Floats
    weights: Floats
    draws: Floats

    @staticmethod
    @lru_cache(maxsize=256)
    def of(counts: Counts) -> Correction:
        """From counts by true class (negative, neutral, positive) and label (the same, abstained).

        Raises:
            ValueError: not 3 rows of 4 counts, or a class without posts.
        """
        found = np.array(counts, dtype=np.float64)
        if found.shape != (3, 4) or (found < 0).any() or (found.sum(axis=1) == 0).any():
            raise ValueError(
                f"a confusion matrix has counts of 3 classes by 4 labels, and posts of each class; got {counts}"
            )
        matrix = found / found.sum(axis=1, keepdims=True)
        # Seeded by the counts: from one seed for all, the draws of similar matrices would correlate (0.9 was seen).
        random = np.random.default_rng(found.astype(np.int64).ravel())
        return Correction(matrix, functionals(matrix), functionals(draw(found, random, DRAWS)))

    @staticmethod
    @lru_cache(maxsize=16)
    def lent(pooled: Counts, counted: tuple[Counts, ...]) -> Correction:
        """The pooled matrix, for a language that was not counted: as far off as counted languages are off the pool.

        Its draws are those of the pool plus a random mixture of their deviations (multivariate t, their covariance), to
        first order: an inverse of every drawn matrix would be off much further than the languages are. Two languages
        that are lent one matrix are taken to be off alike.

        Args:
            counted: of the languages that have a matrix of their own. With one alone nothing is known of how they
                differ, and the draws are those of the pooled counts.
        """
        lender, languages = Correction.of(pooled), len(counted)
        if languages < 2:
            return lender
        found = np.array(counted, dtype=np.float64)
        apart = found / found.sum(axis=-1, keepdims=True) - lender.matrix
        random = np.random.default_rng(np.array(pooled).ravel())
        heavy = np.sqrt(random.chisquare(languages - 1, (DRAWS, 1)) / (languages - 1))
        mixtures = random.standard_normal((DRAWS, languages)) / heavy * sqrt((1 + 1 / languages) / (languages - 1))
        off = np.einsum("bl,lcd->bdc", mixtures, apart)
        return Correction(lender.matrix, lender.weights, lender.draws - lender.weights @ off @ lender.weights[:NET])


def draw(counts: Floats, random: np.random.Generator, n: int) -> Floats:
    """`n` matrices that may have given these counts (Dirichlet, Perks' prior); shape (n, ..., 3, 4)."""
    gammas = random.gamma(np.broadcast_to(counts + PRIOR_COUNT, (n, *counts.shape)))
    return np.asarray(gammas / gammas.sum(axis=-1, keepdims=True))


@dataclass(frozen=True, slots=True)
class Confusions:
    """The published matrices of one model.

    Args:
        counts: by (language, domain).
        pooled: of all languages of a domain together, by domain; for languages without their own.
    """

    counts: Mapping[tuple[str, str], Counts]
    pooled: Mapping[str, Counts]

    def counted(self, domain: str) -> tuple[Counts, ...]:
        """The matrices of a domain's languages, those without their own left out."""
        return tuple(counts for (_, of), counts in sorted(self.counts.items()) if of == domain)

    @classmethod
    def of(cls, rows: Sequence[tuple[str, str, Counts, bool]]) -> Confusions:
        """From (language, domain, counts, pooled) as they lie beside the model.

        Raises:
            ValueError: none at all: shares cannot be corrected.
        """
        if not rows:
            raise ValueError("the model was published without confusion matrices; evaluate and export it again")
        pooled = {domain: counts for _, domain, counts, is_pooled in rows if is_pooled}
        for domain in {row[1] for row in rows} - set(pooled):
            total = sum(np.array(counts) for _, of, counts, _ in rows if of == domain)
            pooled[domain] = tuple(tuple(int(count) for count in row) for row in np.asarray(total))
        return cls({(language, domain): counts for language, domain, counts, lent in rows if not lent}, pooled)

    def correction(self, language: str, source_class: str) -> Correction:
        """That of a language in the domain that the source class names; a class that names none is social."""
        domain = source_class if source_class in self.pooled else "social"
        if domain not in self.pooled:
            domain = min(self.pooled)
        own = self.counts.get((language, domain))
        return Correction.of(own) if own else Correction.lent(self.pooled[domain], self.counted(domain))


def nearest_shares(shares: Floats) -> Floats:
    """The nearest point where shares are between 0 and 1 and sum to 1 (Duchi et al. 2008); shape (..., 3)."""
    ordered = -np.sort(-shares, axis=-1)
    excess = (np.cumsum(ordered, axis=-1) - 1) / np.arange(1, shares.shape[-1] + 1)
    kept = (ordered > excess).sum(axis=-1, keepdims=True) - 1
    return np.maximum(shares - np.take_along_axis(excess, kept, axis=-1), 0.0)
