"""Cases with one planted cause: the decomposition should sum to the shift, and name the cause first."""

from __future__ import annotations

from itertools import product

import numpy as np

from bench.shifts.figures import Figure, share
from bench.shifts.world import published
from worker.opinion.cells import Cell
from worker.opinion.index.correction import Floats
from worker.opinion.index.tally import Tally
from worker.opinion.shifts.shapley import FACTORS, decompose

LANGUAGES, SOURCES, TOPICS = ("en", "ja", "es"), ("social", "financial"), ("a", "b", "c", "d")
CELLS = list(product(LANGUAGES, SOURCES, TOPICS))
POSTS = 6000
SMALLEST_SHIFT = 0.08
"""Smaller ones are not what an alert is about: on so many posts they are near what chance does to the parts."""


def measure(cases: int, seed: int) -> list[Figure]:
    """As many cases of each cause; labels are drawn as the shipped model would give them."""
    random = np.random.default_rng(seed)
    named = dict.fromkeys(FACTORS, 0)
    furthest, each = 0.0, cases // len(FACTORS)
    for factor in FACTORS:
        for _ in range(each):
            before, after = _case(factor, random)
            moved, parts = decompose(_sampled(*before, random), _sampled(*after, random), published())
            furthest = max(furthest, abs(sum(part.value for part in parts) - moved))
            named[factor] += max(parts, key=lambda part: abs(part.value)).factor == factor
    total = share(sum(named.values()), each * len(FACTORS))
    return [
        Figure("decomposition.sum_error", furthest, "at most 1e-9", ok=furthest <= 1e-9),
        Figure("decomposition.cause_first", total[0], "at least 0.95", ok=total[0] >= 0.95, interval=total[1:]),
        *(
            Figure(f"decomposition.cause_first.{factor}", count / each, "reported", ok=None)
            for factor, count in named.items()
        ),
    ]


def _case(factor: str, random: np.random.Generator) -> tuple[tuple[Floats, Floats], tuple[Floats, Floats]]:
    """Shares of cells and true shares of sentiment before and after; one factor changes until it shows."""
    while True:
        chain = [random.dirichlet(np.full(n, 8.0)) for n in (3, 2, 4)]
        levels = [random.normal(0, 0.18, n) for n in (3, 2, 4)]
        before = _mix(chain), _sentiment(levels, 0.0)
        if factor == "sentiment":
            after = before[0], _sentiment(levels, random.choice([-1, 1]) * random.uniform(0.1, 0.3))
        else:
            changed = list(chain)
            place = FACTORS.index(factor)  # type: ignore[arg-type]
            changed[place] = random.dirichlet(np.full(len(chain[place]), 1.0))
            after = _mix(changed), before[1]
        moved = [shares @ (true[:, 2] - true[:, 0]) for shares, true in (before, after)]
        if abs(moved[1] - moved[0]) >= SMALLEST_SHIFT:
            return before, after


def _mix(chain: list[Floats]) -> Floats:
    return np.einsum("l,s,t->lst", *chain).ravel()


def _sentiment(levels: list[Floats], moved: float) -> Floats:
    """True shares of each cell from levels of language, source and topic."""
    net = (levels[0][:, None, None] + levels[1][:, None] + levels[2]).ravel() + moved
    net = np.clip(net, -0.58, 0.58)
    return np.stack([(0.6 - net) / 2, np.full(len(net), 0.4), (0.6 + net) / 2], axis=1)


def _sampled(shares: Floats, true: Floats, random: np.random.Generator) -> dict[Cell, Tally]:
    """The labels of so many posts."""
    tallies = {}
    for (language, source, topic), posts, sentiment in zip(CELLS, random.multinomial(POSTS, shares), true, strict=True):
        matrix = published().correction(language, source).matrix
        labels = random.multinomial(posts, sentiment @ matrix).tolist()
        tallies[Cell(source, language, topic, "m")] = Tally(*labels, cluster_squares=float(posts))
    return tallies
