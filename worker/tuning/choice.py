"""Which ways to batch are tried, what their runs come to, and which of them is chosen. Pure.

The fastest within the bound on latency, by the median of its runs; of those that are as fast within the noise, the
smallest batch, since it is answered soonest.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from math import ceil
from statistics import median

from worker.analysis.batching import TokenBudget
from worker.analysis.batching_file import Figures
from worker.errors import PolyvoxError

POSTS = (1, 4, 8, 16, 32, 64, 128, 256)
TOKENS = (512, 2048, 8192, 32_768)
IN_FLIGHT = (1, 2, 3, 4, 8, 16)

TIE_SHARE = 0.05
"""However noisy the fastest one's runs are, nothing slower than it by more than this share is chosen."""

HOPELESS_SPEED = 0.7
HOPELESS_LATENCY = 2.0
"""A first run that is slower, or later, than so much of the best, or of the bound, is not repeated."""

ALWAYS_REPEATED = 8
"""The fastest first runs within the bound, whatever the best of them was: one run may be a lucky one."""


@dataclass(frozen=True, order=True)
class Way:
    """One way to batch, smallest first when sorted: rows, padded tokens, and batches at the server at once."""

    posts: int
    tokens: int
    in_flight: int

    @property
    def budget(self) -> TokenBudget:
        """The size of its batches."""
        return TokenBudget(self.tokens, self.posts)


@dataclass(frozen=True)
class Run:
    """One run of one way: the time of each batch, and the tokens of all with and without padding."""

    posts_per_s: float
    latencies_ms: tuple[float, ...]
    real_tokens: int
    padded_tokens: int


def grid(max_posts: int, longest: int, pool_posts: int) -> list[Way]:
    """The ways to try, smallest first.

    Left out is what makes the same batches as a smaller budget, and what holds more than half of the worker's pool at
    the server: there would be nothing to choose neighbours from.

    Args:
        max_posts: the most rows that the model takes in one batch.
        longest: tokens of the longest window.
        pool_posts: posts that a worker lets wait.
    """
    ways = []
    for posts, tokens, in_flight in product(POSTS, TOKENS, IN_FLIGHT):
        same_as_smaller = any(smaller >= posts * longest for smaller in TOKENS if smaller < tokens)
        starving = posts * in_flight > max(1, pool_posts // 2)
        if posts <= max_posts and not same_as_smaller and not starving:
            ways.append(Way(posts, tokens, in_flight))
    return ways


def figures_of(way: Way, runs: Sequence[Run]) -> Figures:
    """What at least one run of a way comes to."""
    rates = [run.posts_per_s for run in runs]
    latencies_ms = sorted(latency for run in runs for latency in run.latencies_ms)
    padded, real = sum(run.padded_tokens for run in runs), sum(run.real_tokens for run in runs)
    return Figures(
        batch_posts=way.posts,
        batch_tokens=way.tokens,
        batches_in_flight=way.in_flight,
        runs=len(runs),
        min_posts_per_s=round(min(rates), 3),
        median_posts_per_s=round(median(rates), 3),
        max_posts_per_s=round(max(rates), 3),
        p95_ms=round(latencies_ms[ceil(0.95 * len(latencies_ms)) - 1], 3),
        padded_per_real=round(padded / real, 3),
    )


def worth_repeating(first: Mapping[Way, Run], latency_ms: float) -> list[Way]:
    """The ways that may still be chosen after one run of each; all of them when none kept the bound."""
    found = {way: figures_of(way, [run]) for way, run in first.items()}
    within = [way for way, each in found.items() if each.p95_ms <= latency_ms]
    if not within:
        return list(first)
    fastest = sorted(within, key=lambda way: found[way].median_posts_per_s, reverse=True)
    enough = HOPELESS_SPEED * found[fastest[0]].median_posts_per_s
    hopeful = {
        way
        for way, each in found.items()
        if each.median_posts_per_s >= enough and each.p95_ms <= HOPELESS_LATENCY * latency_ms
    }
    return sorted(hopeful.union(fastest[:ALWAYS_REPEATED]))


def choose(found: Sequence[Figures], latency_ms: float) -> Figures:
    """The one to batch by.

    A way is as fast as the fastest when its median is at least the slowest run of that one, which could not do better
    either, and within `TIE_SHARE` of its median.

    Raises:
        PolyvoxError: none keeps the bound.
    """
    allowed = [each for each in found if each.p95_ms <= latency_ms]
    if not allowed:
        soonest = min((each.p95_ms for each in found), default=float("inf"))
        raise PolyvoxError(
            f"no way to batch has 95 % of its batches answered within {latency_ms:g} ms; the soonest takes "
            f"{soonest:.0f} ms: raise --latency-ms, or give the inference server more processors"
        )
    best = max(allowed, key=lambda each: each.median_posts_per_s)
    enough = max(best.min_posts_per_s, (1 - TIE_SHARE) * best.median_posts_per_s)
    tied = [each for each in allowed if each.median_posts_per_s >= enough]
    return min(tied, key=lambda each: (each.batch_posts, each.batch_tokens, each.batches_in_flight))
