"""From observations of a run to its rate, and from the rates of several runs to what is reported. Pure."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import median

import numpy as np

from bench.cpu import Trace
from worker.errors import ConfigInvalid

EDGE = 0.2
"""The first and the last fifth of the posts are left out of every rate.

Caches fill, and the last batches are not full. And polyvox publishes in source order what it infers by length: some
hundred posts are done and wait for an older one. As many do at both ends of what is measured, if a fifth of the posts
is more than the pool holds; otherwise the work done before the start would count.
"""

Progress = Sequence[tuple[float, int]]
"""(Unix seconds, posts done by then) in order of time."""


def progress_of(times_s: Iterable[float]) -> list[tuple[float, int]]:
    """The progress of a run of which each post's moment of completion is known."""
    return [(time_s, done) for done, time_s in enumerate(sorted(times_s), start=1)]


def moment_s(progress: Progress, posts: float) -> float:
    """When so many posts were done, linear between two observations.

    Raises:
        ValueError: so many never were.
    """
    at = bisect_left(progress, posts, key=lambda seen: seen[1])
    if at == len(progress):
        raise ValueError(f"{posts:.0f} posts wanted, {progress[-1][1] if progress else 0} done")
    time_s, done = progress[at]
    before_s, before = progress[at - 1] if at else (time_s, done)
    return time_s if done == before else before_s + (time_s - before_s) * (posts - before) / (done - before)


def middle_rate(progress: Progress, total: int, began: Progress | None = None) -> float:
    """Posts per second between the moments when a fifth and when four fifths of `total` were done.

    Args:
        progress: what is measured.
        total: all posts of the run.
        began: an earlier step of the same run, whose first fifth starts the clock: so the rate of a last step says how
            fast posts go through all of them.

    Raises:
        ValueError: `total` is not reached.
        ConfigInvalid: it took no time at all.
    """
    return middle(progress, total, began).posts_per_s


@dataclass(frozen=True)
class Middle:
    """What of a run is measured: from when to when, Unix seconds, and the posts that were done in between."""

    begin_s: float
    end_s: float
    posts: float

    @property
    def posts_per_s(self) -> float:
        """The rate."""
        return self.posts / (self.end_s - self.begin_s)


def middle(progress: Progress, total: int, began: Progress | None = None) -> Middle:
    """The middle of a run; see `middle_rate`. Where many posts were done at one moment, all of them count there."""
    first, last = EDGE * total, (1 - EDGE) * total
    begin_s, end_s = moment_s(began or progress, first), moment_s(progress, last)
    if end_s <= begin_s:
        raise ConfigInvalid(f"{total} posts took no measurable time: give more --posts")
    return Middle(begin_s, end_s, _done(progress, last) - _done(began or progress, first))


def _done(progress: Progress, posts: float) -> float:
    """`posts`, or how many were done when that many were, if several were at that very moment."""
    at = bisect_left(progress, posts, key=lambda seen: seen[1])
    end = bisect_right(progress, progress[at][0], key=lambda seen: seen[0]) - 1
    return posts if end == at else progress[end][1]


def used_s(trace: Trace, begin_s: float, end_s: float) -> float:
    """Processor seconds used between two moments, linear between samples; before the first sample none is known."""
    if not trace:
        return 0.0
    times_s, used = zip(*trace, strict=True)
    return float(np.interp(end_s, times_s, used) - np.interp(begin_s, times_s, used))


@dataclass(frozen=True)
class Measured:
    """One run of one contender.

    Attributes:
        posts_per_s: its rate.
        cpu_s: processor seconds of the contender's own processes for 1,000 posts.
        triton_cpu_s: those of Triton meanwhile.
    """

    posts_per_s: float
    cpu_s: float
    triton_cpu_s: float

    def __str__(self) -> str:
        return f"{self.posts_per_s:,.1f} posts/s, {self.cpu_s:.3f} CPU s for 1,000"

    @classmethod
    def of(cls, progress: Progress, total: int, traces: Mapping[str, Trace], began: Progress | None = None) -> Measured:
        """Rate and processor time of the same middle of a run; `traces` holds "contender" and "triton"."""
        part = middle(progress, total, began)
        used = [used_s(traces.get(name, ()), part.begin_s, part.end_s) for name in ("contender", "triton")]
        return cls(part.posts_per_s, *(each / part.posts * 1000 for each in used))


@dataclass(frozen=True)
class Spread:
    """The repeats of one figure."""

    minimum: float
    median: float
    maximum: float

    @classmethod
    def of(cls, values: Sequence[float]) -> Spread:
        """The spread of at least one value."""
        return cls(min(values), median(values), max(values))


def ratios(ours: Sequence[float], theirs: Sequence[float]) -> Spread:
    """The spread of the ratio, repeat by repeat: what slows a whole repeat down cancels out."""
    return Spread.of([one / other for one, other in zip(ours, theirs, strict=True)])
