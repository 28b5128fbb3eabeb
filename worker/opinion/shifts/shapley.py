"""What a shift is made of: language mix, source mix, topic mix and sentiment itself.

What is taken apart is the net sentiment that people see move: corrected for the confusion matrices, each side with its
own mix of cells. The mix is written as a chain: share of a language, share of a source class within it, share of a
topic within both; sentiment is the value of a cell. Exchanging each of the four between before and after gives 16
values; a factor's part is its Shapley value over them (Shorrocks 2013), so that no order of exchange favours one, and
the parts sum to the shift.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import combinations
from math import factorial

import numpy as np

from worker.opinion.cells import Cell
from worker.opinion.index.correction import NET, Confusions, Floats
from worker.opinion.index.standard import labels_of
from worker.opinion.index.tally import Tally
from worker.opinion.shifts.words import Contribution, Factor

FACTORS: tuple[Factor, ...] = ("language_mix", "source_mix", "topic_mix", "sentiment")
SHRUNK_POSTS = 20.0
"""A topic is drawn to its language and source class with so many posts: a handful tells little."""
Group = tuple[str, str, str]
Side = tuple[Floats, Floats, Floats, Floats]


def decompose(
    before: Mapping[Cell, Tally], after: Mapping[Cell, Tally], confusions: Confusions
) -> tuple[float, tuple[Contribution, ...]]:
    """The shift of net sentiment with each side's own mix, and what each factor adds to it.

    A part of the mix that one side lacks takes its split and its sentiment from the other side: that it came or went is
    then a change of mix alone.

    Returns:
        The shift, and contributions that sum to it within 1e-9; in the order of `FACTORS`.

    Raises:
        ValueError: a side without posts.
    """
    sides = _grouped(before), _grouped(after)
    if not all(sides):
        raise ValueError("a shift is between two spans with posts; one of them has none")
    groups = sorted(set(sides[0]) | set(sides[1]))
    factors = [_factors(side, groups, confusions) for side in sides]
    parts = [_filled(*pair) for pair in zip(*factors, strict=True)]
    value = {
        chosen: _value([part[index in chosen] for index, part in enumerate(parts)])
        for size in range(len(FACTORS) + 1)
        for chosen in combinations(range(len(FACTORS)), size)
    }
    contributions = tuple(
        Contribution(factor, _shapley(value, index, len(FACTORS))) for index, factor in enumerate(FACTORS)
    )
    return value[tuple(range(len(FACTORS)))] - value[()], contributions


def _grouped(tallies: Mapping[Cell, Tally]) -> dict[Group, Tally]:
    """Model versions summed, empty cells left out."""
    groups: dict[Group, Tally] = {}
    for cell, tally in tallies.items():
        if tally.weight:
            group = (cell.language, cell.source_class, cell.topic)
            groups[group] = groups.get(group, Tally()).plus(tally)
    return groups


def _factors(side: Mapping[Group, Tally], groups: list[Group], confusions: Confusions) -> Side:
    """Shares of the chain and values, one each per group; NaN where this side cannot tell."""
    posts = np.array([side[group].weight if group in side else 0.0 for group in groups])
    of_language, of_stratum = _sums(posts, [group[:1] for group in groups]), _sums(posts, [g[:2] for g in groups])
    with np.errstate(divide="ignore", invalid="ignore"):
        chain = of_language / posts.sum(), of_stratum / of_language, posts / of_stratum
    nets = _nets(side, confusions)
    return *chain, np.array([nets.get(group, np.nan) for group in groups])


def _sums(posts: Floats, names: list[tuple[str, ...]]) -> Floats:
    """For each group, the posts of all groups of the same name."""
    total: dict[tuple[str, ...], float] = {}
    for name, count in zip(names, posts, strict=True):
        total[name] = total.get(name, 0.0) + float(count)
    return np.array([total[name] for name in names])


def _nets(side: Mapping[Group, Tally], confusions: Confusions) -> dict[Group, float]:
    """Corrected net sentiment by group: topics drawn to their stratum, so that its own value stays what it is."""
    strata: dict[tuple[str, str], list[Group]] = {}
    for group in side:
        strata.setdefault(group[:2], []).append(group)
    nets: dict[Group, float] = {}
    for stratum, groups in strata.items():
        weights = confusions.correction(*stratum).weights[NET]
        posts = np.array([side[group].weight for group in groups])
        own = np.array([labels_of(side[group]) for group in groups]) @ weights
        whole = posts @ own / posts.sum()
        effective = np.array([side[group].effective_posts for group in groups])
        drawn = (effective * own + SHRUNK_POSTS * whole) / (effective + SHRUNK_POSTS)
        nets |= zip(groups, (drawn + whole - posts @ drawn / posts.sum()).tolist(), strict=True)
    return nets


def _filled(before: Floats, after: Floats) -> tuple[Floats, Floats]:
    """What one side cannot tell, as on the other side."""
    return np.where(np.isnan(before), after, before), np.where(np.isnan(after), before, after)


def _value(parts: list[Floats]) -> float:
    """Net sentiment of a mixture of the two sides."""
    return float(np.prod(parts, axis=0).sum())


def _shapley(value: Mapping[tuple[int, ...], float], player: int, players: int) -> float:
    """The mean over all orders of what a player adds."""
    total = 0.0
    for coalition, worth in value.items():
        if player not in coalition:
            joined = tuple(sorted((*coalition, player)))
            orders = factorial(len(coalition)) * factorial(players - len(coalition) - 1)
            total += orders / factorial(players) * (value[joined] - worth)
    return total
