"""How often the 95 % intervals of the index hold the truth, when matrices are counted anew in every run."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from bench.shifts.figures import Figure, share
from bench.shifts.world import published
from worker.opinion.index.correction import TARGETS, Confusions, Correction, Floats
from worker.opinion.index.index import intervals
from worker.opinion.index.weighed import Mix, weigh

AT_ONCE = 100
NAMES = ("negative", "neutral", "positive", "net")
LOW, HIGH = 0.93, 0.97


@dataclass(frozen=True)
class Regime:
    """A window: strata with one true sentiment, so many posts, in clusters of so many.

    Args:
        strata: one that is named again is another language with the same matrix, whose error is one; `und` has the
            pooled one of its domain, and is what was pooled.
        abstains: False for a model whose thresholds are 0, which labels every post.
    """

    name: str
    strata: tuple[tuple[str, str], ...]
    true: tuple[float, float, float]
    posts: int
    cluster: int = 1
    abstains: bool = True


EN, POOLED, FEW = (("en", "social"),), (("und", "social"),), (("de", "social"),)
EVEN = (0.3, 0.4, 0.3)
REGIMES = (
    Regime("usual", EN, EVEN, 300),
    Regime("small_window", EN, EVEN, 20),
    Regime("small_window_pooled_matrix", POOLED, (0.5, 0.3, 0.2), 25),
    Regime("pooled_matrix", POOLED, EVEN, 1000),
    Regime("many_posts_matrix_error_rules", EN, EVEN, 30_000),
    Regime("near_bounds", EN, (0.02, 0.08, 0.9), 300),
    Regime("near_bounds_neutral", (("en", "financial"),), (0.01, 0.98, 0.01), 300),
    Regime("heavy_clusters", EN, (0.5, 0.3, 0.2), 600, cluster=20),
    Regime("never_abstains", EN, EVEN, 200, abstains=False),
    Regime("weak_matrix", (("ru", "social"),), (0.4, 0.4, 0.2), 300),
    Regime("several_languages", (("en", "social"), ("ja", "social"), ("id", "social")), EVEN, 400),
    Regime("languages_of_one_matrix", FEW * 3, EVEN, 400),
)


def measure(runs: int, seed: int, regimes: Sequence[Regime] = REGIMES) -> list[Figure]:
    """The coverage of net sentiment in each regime, and the least and greatest of the shares'."""
    figures = []
    for number, regime in enumerate(regimes):
        random = np.random.default_rng([seed, number])
        covered = np.concatenate([_covered(regime, AT_ONCE, random) for _ in range(max(runs // AT_ONCE, 1))])
        for target, name in enumerate(NAMES):
            found = share(int(covered[:, target].sum()), len(covered))
            figures.append(
                Figure(
                    f"coverage.{regime.name}.{name}",
                    found[0],
                    f"{LOW} to {HIGH}",
                    ok=LOW <= found[0] <= HIGH,
                    interval=found[1:],
                )
            )
    return figures + _uncounted(runs, np.random.default_rng([seed, len(regimes)]))


def _uncounted(runs: int, random: np.random.Generator) -> list[Figure]:
    """Each language of social posts in turn read as one without a matrix, from those of the others; 2,000 posts."""
    confusions, covered = published(), []
    languages = [language for language, domain in confusions.counts if domain == "social"]
    true = np.array(EVEN)
    for language in languages:
        others = [(*of, counts, False) for of, counts in confusions.counts.items() if of != (language, "social")]
        lent = Confusions.of(others).correction("und", "social")
        counts = _counts((language, "social"), abstains=True)
        matrix = counts / counts.sum(axis=1, keepdims=True)
        labels = random.multinomial(2000, true @ matrix, max(runs // len(languages), 1)) / 2000
        mean = labels @ lent.weights.T
        variance = (labels @ (lent.weights**2).T - mean**2) / 2000
        low, high = intervals(np.einsum("bkd,rd->brk", lent.draws, labels), variance, np.full(len(labels), 2000.0))
        covered.append(((low <= TARGETS @ true) & (high >= TARGETS @ true)).mean(axis=0))
    shares = np.mean(covered, axis=0)
    return [
        Figure(f"coverage.uncounted_language.{name}", float(value), f"reported, of {len(languages)} languages", ok=None)
        for name, value in zip(NAMES, shares, strict=True)
    ]


def _covered(regime: Regime, runs: int, random: np.random.Generator) -> Floats:
    """Whether each target's interval holds the truth; (runs, 4 targets)."""
    counts = [_counts(stratum, abstains=regime.abstains) for stratum in regime.strata]
    known = [rows / rows.sum(axis=1, keepdims=True) for rows in counts]
    weights = np.full(len(counts), 1 / len(counts))
    posts = regime.posts // regime.cluster
    labels = np.stack(
        [random.multinomial(posts // len(counts), np.array(regime.true) @ matrix, runs) for matrix in known], axis=1
    ).astype(np.float64)
    counted = {
        stratum: np.stack([random.multinomial(int(row.sum()), row / row.sum(), runs) for row in rows], axis=1)
        for stratum, rows in zip(regime.strata, counts, strict=True)
    }
    found = {
        stratum: [Correction.of(tuple(map(tuple, rows))) for rows in each.tolist()] for stratum, each in counted.items()
    }
    drawn = [np.stack([one.draws for one in found[stratum]], axis=1) for stratum in regime.strata]
    central = [np.stack([one.weights for one in found[stratum]]) for stratum in regime.strata]
    usual = np.stack([np.array(EVEN) @ matrix for matrix in known])
    effective = labels.sum(axis=-1)
    weighed = weigh(labels * regime.cluster, effective, Mix(weights, np.stack(central, axis=1), usual))
    values = np.einsum("bsrkd,rsd->brk", np.stack(drawn, axis=1), weighed.labels, optimize=True)
    low, high = intervals(values, weighed.variance, effective.sum(axis=-1))
    truth = TARGETS @ np.array(regime.true)
    return (low <= truth) & (truth <= high)


def _counts(stratum: tuple[str, str], *, abstains: bool) -> Floats:
    """The counts of the shipped matrix as the truth that is counted from: a label that is possible is never empty."""
    confusions = published()
    counts = np.rint(np.array(confusions.counts.get(stratum, confusions.pooled[stratum[1]]), dtype=np.float64) + 0.5)
    return counts if abstains else counts * [1, 1, 1, 0]
