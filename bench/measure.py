"""From observations of a run to its rate, and from the rates of several runs to what is reported. Pure."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from statistics import median

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
    begin_s, end_s = moment_s(began or progress, EDGE * total), moment_s(progress, (1 - EDGE) * total)
    if end_s <= begin_s:
        raise ConfigInvalid(f"{total} posts took no measurable time: give more --posts")
    return (1 - 2 * EDGE) * total / (end_s - begin_s)


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
