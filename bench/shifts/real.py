"""Planted cases of real labelled posts: analysed by a worker, counted in Redis, read back as an alert does.

Each case draws posts for an hour before and one after, with one planted cause: other shares of languages, of source
classes or of topics, while each of their groups keeps its posts; or other sentiment by the annotators' labels, while
all shares stay. Nothing comes from a matrix: what the model confuses, it confuses on these posts.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from bench.shifts.analysed import Labelled, analysed
from bench.shifts.counted import counting
from bench.shifts.figures import Figure, share
from worker.opinion.index.correction import Floats
from worker.opinion.shifts.shapley import FACTORS, decompose
from worker.opinion.shifts.words import Factor
from worker.settings import Settings

POSTS = 3000
"""Of each side of a case."""
SMALLEST_SHIFT = 0.08
"""Of net sentiment by the annotators' labels; smaller ones are not what an alert is about."""
SMALLEST_CELL, SMALLEST_LANGUAGE = 3, 40
"""Posts of a language, source class and topic, and of a language, that are enough to draw from."""
BOTH_CLASSES = "en"
"""The language that has labelled posts of both source classes; it is in every case."""
OTHERS = 2
"""Further languages of a case."""
LEVELS = 0.9
"""How far groups differ in sentiment: the deviation of log odds between neighbouring labels."""
COPIES_RECOGNISED = 0.99


@dataclass(frozen=True)
class Pool:
    """The posts that cases draw from, as arrays of shape (posts,).

    Args:
        group: (posts, 3), numbers of language, source class and topic.
        gold: -1, 0 or 1.
    """

    posts: Sequence[Labelled]
    group: NDArray[np.int64]
    gold: Floats

    @classmethod
    def of(cls, posts: Sequence[Labelled]) -> Pool:
        """Those whose language, source class and topic have posts enough."""
        kept = list(posts)
        for size, parts in ((SMALLEST_LANGUAGE, 1), (SMALLEST_CELL, 3)):
            names = [_name(post)[:parts] for post in kept]
            kept = [post for post, name in zip(kept, names, strict=True) if names.count(name) >= size]
        columns = zip(*map(_name, kept), strict=True)
        numbered = [np.unique(column, return_inverse=True)[1] for column in columns]
        return cls(kept, np.stack(numbered, axis=1), np.array([float(post.gold) for post in kept]))


def _name(post: Labelled) -> tuple[str, str, str]:
    return post.event.language, post.event.source_class, post.event.topic.label


@dataclass(frozen=True)
class Side:
    """What one side of a case is drawn from.

    Args:
        shares: of languages, source classes and topics, each before the ones that follow are looked at.
        levels: of the same groups; added up, they say how positive a group is.
        moved: added to all groups.
    """

    shares: tuple[Floats, Floats, Floats]
    levels: tuple[Floats, Floats, Floats]
    moved: float = 0.0

    def weights(self, pool: Pool) -> Floats:
        """How often each post is drawn; sums to 1."""
        level = sum(levels[pool.group[:, at]] for at, levels in enumerate(self.levels)) + self.moved
        weights = np.exp(level * pool.gold)
        for parts in (3, 2, 1, 0):  # from the cell outwards: each group's posts share what its group has
            _, groups = np.unique(pool.group[:, :parts], axis=0, return_inverse=True)
            weights = weights / np.bincount(groups, weights)[groups]
            if parts:
                weights = weights * self.shares[parts - 1][pool.group[:, parts - 1]]
        return np.asarray(weights)


def measure(cases: int, seed: int) -> list[Figure]:
    """As many cases of each cause, on servers of the bench's own."""
    random = np.random.default_rng(seed)
    with analysed() as found:
        pool = Pool.of(found.posts)
        planted = [(factor, _case(factor, pool, random)) for factor in FACTORS for _ in range(cases // len(FACTORS))]
        parts = asyncio.run(_taken_apart(planted, pool, found.settings, random))
    furthest = max(abs(sum(each.values()) - moved) for moved, each in parts)
    first = [max(each, key=lambda name: abs(each[name])) for _, each in parts]
    named = {
        factor: sum(factor == cause == of for of, (cause, _) in zip(first, planted, strict=True)) for factor in FACTORS
    }
    total = share(sum(named.values()), len(planted))
    recognised = share(found.copies[1], found.copies[0])
    return [
        Figure("real_posts.sum_error", furthest, "at most 1e-9", ok=furthest <= 1e-9),
        Figure("real_posts.cause_first", total[0], "at least 0.95", ok=total[0] >= 0.95, interval=total[1:]),
        *(Figure(f"real_posts.cause_first.{name}", count / (cases // len(FACTORS)), "reported", ok=None)
          for name, count in named.items()),
        Figure("real_posts.pool", float(len(pool.posts)), "reported", ok=None),
        Figure(
            "real_posts.copies_recognised", recognised[0], f"at least {COPIES_RECOGNISED:g}",
            ok=recognised[0] >= COPIES_RECOGNISED, interval=recognised[1:],
        ),
    ]  # fmt: skip


def _case(factor: Factor, pool: Pool, random: np.random.Generator) -> tuple[Floats, Floats]:
    """Weights of the posts before and after; one factor changes until the annotators' labels show it."""
    sizes = [int(column.max()) + 1 for column in pool.group.T]
    while True:
        shares = (
            _languages(pool, random),
            random.dirichlet(np.full(sizes[1], 8.0)),
            random.dirichlet(np.full(sizes[2], 8.0)),
        )
        levels = (
            random.normal(0, LEVELS, sizes[0]),
            random.normal(0, LEVELS, sizes[1]),
            random.normal(0, LEVELS, sizes[2]),
        )
        before = Side(shares, levels)
        if factor == "sentiment":
            after = replace(before, moved=random.choice([-1, 1]) * random.uniform(0.5, 1.5))
        else:
            at = FACTORS.index(factor)
            changed = list(shares)
            changed[at] = np.where(shares[at] > 0, random.gamma(1.0, size=sizes[at]), 0.0)
            after = replace(before, shares=(changed[0], changed[1], changed[2]))
        weights = before.weights(pool), after.weights(pool)
        if abs((weights[1] - weights[0]) @ pool.gold) >= SMALLEST_SHIFT:
            return weights


def _languages(pool: Pool, random: np.random.Generator) -> Floats:
    """Shares of the languages; but for a few they are 0."""
    names = sorted({_name(post)[0] for post in pool.posts})
    always = names.index(BOTH_CLASSES)
    others = random.choice([at for at in range(len(names)) if at != always], OTHERS, replace=False)
    shares = np.zeros(len(names))
    shares[[always, *others]] = random.dirichlet([16.0, *[8.0] * OTHERS])
    return shares


async def _taken_apart(
    planted: Sequence[tuple[Factor, tuple[Floats, Floats]]], pool: Pool, settings: Settings, random: np.random.Generator
) -> list[tuple[float, dict[Factor, float]]]:
    """Of each case the shift and its parts."""
    found = []
    async with counting(settings) as counter:
        for _, sides in planted:
            hours = [await counter.count(pool.posts, random.multinomial(POSTS, weights)) for weights in sides]
            moved, parts = decompose(*hours, counter.confusions)
            found.append((moved, {part.factor: part.value for part in parts}))
    return found
