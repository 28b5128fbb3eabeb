"""Measure an inference server: real texts, in batches as the worker's own pool makes them, round after round.

Each run sends the same posts. The ways take turns, so that what slows the server down for a while slows all of them
down. What is not in the figures: the worker's own work beside the calls, and its memory of texts seen before.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass
from itertools import cycle, islice

from worker.analysis.batching import Pool, TokenBudget, collate
from worker.analysis.inference import Inference
from worker.analysis.prepare import Window
from worker.errors import InferenceRejected, PolyvoxError
from worker.timing import Clock
from worker.tuning.choice import Run, Way, worth_repeating

PROBE_POSTS = 256
"""Sent twice before anything counts: a server is slow at first, and how long a run takes must be known."""

Batches = Generator[list[Window], None, None]
Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class Bench:
    """What is measured with: the windows of each post, and how many wait in the worker's pool."""

    inference: Inference
    posts: Sequence[Sequence[Window]]
    pad_id: int
    pool_posts: int
    clock: Clock


@dataclass(frozen=True)
class Effort:
    """How long a run takes, about; how many rounds there are; and the bound on the p95 of a batch."""

    run_s: float
    rounds: int
    latency_ms: float


@dataclass(frozen=True)
class Sweep:
    """What was found: the runs of each way, and the ways of which the server refused a batch, with its words."""

    runs: dict[Way, list[Run]]
    refused: dict[Way, str]


async def sweep(bench: Bench, ways: Sequence[Way], effort: Effort, progress: Progress) -> Sweep:
    """Run every way once, and those that may be chosen in all rounds; `progress` gets runs done and to do.

    Raises:
        InferenceUnavailable, ModelInvalid: as `Inference.infer`.
        PolyvoxError: the server refused batches of every way.
    """
    found = Sweep({}, {})
    count = await _posts_of_a_run(bench, ways, effort.run_s, found)
    for each in range(effort.rounds):
        if each == 1:
            ways = worth_repeating({way: runs[0] for way, runs in found.runs.items()}, effort.latency_ms)
        done, todo = sum(map(len, found.runs.values())), (effort.rounds - each) * len(ways)
        for at, way in enumerate(ways):
            progress(done + at, done + todo)
            if way not in found.refused and (run := await _tried(bench, way, count, found)) is not None:
                found.runs.setdefault(way, []).append(run)
        if not found.runs:
            raise PolyvoxError(f"the server refused every batch: {next(iter(found.refused.values()))}")
        progress(done + len(ways), done + todo)
    return found


async def _posts_of_a_run(bench: Bench, ways: Sequence[Way], run_s: float, found: Sweep) -> int:
    """As many posts as the largest way that works answers in `run_s`."""
    for way in reversed(ways):
        if await _tried(bench, way, PROBE_POSTS, found) is not None:
            probe = await _tried(bench, way, PROBE_POSTS, found)
            if probe is not None:
                return max(PROBE_POSTS, round(probe.posts_per_s * run_s))
    return PROBE_POSTS


async def _tried(bench: Bench, way: Way, count: int, found: Sweep) -> Run | None:
    """A run; None when the server refuses one of its batches, for which a smaller one may pass."""
    try:
        return await run_once(bench, way, count)
    except InferenceRejected as error:
        found.runs.pop(way, None)
        found.refused[way] = str(error)
        return None


async def run_once(bench: Bench, way: Way, count: int) -> Run:
    """Send `count` posts, those of the bench over and over, and wait for all answers.

    Raises:
        InferenceUnavailable, InferenceRejected, ModelInvalid: as `Inference.infer`; what was sent is waited for first.
    """
    posts = list(islice(cycle(bench.posts), count))
    made = batches(posts, way.budget, bench.pool_posts)
    latencies_ms: list[float] = []
    padded = 0

    async def ask() -> None:
        nonlocal padded
        for windows in made:
            batch = collate(windows, bench.pad_id)
            padded += batch.input_ids.size
            asked_s = bench.clock.monotonic_s()
            try:
                await bench.inference.infer(batch)
            except PolyvoxError:
                made.close()  # ends the others after their batch: cancelled calls can crash Triton
                raise
            latencies_ms.append((bench.clock.monotonic_s() - asked_s) * 1000)

    started_s = bench.clock.monotonic_s()
    ended = await asyncio.gather(*(ask() for _ in range(way.in_flight)), return_exceptions=True)
    took_s = bench.clock.monotonic_s() - started_s
    if failure := next((each for each in ended if each is not None), None):
        raise failure
    real = sum(window.length for windows in posts for window in windows)
    return Run(count / took_s, tuple(latencies_ms), real, padded)


def batches(posts: Sequence[Sequence[Window]], budget: TokenBudget, pool_posts: int) -> Batches:
    """The windows of all posts, as a worker with posts to spare sends them.

    Its pool is filled up when an eighth has left it, as `EnrichStage.room` does; here it counts windows.
    """
    pool: Pool[Window] = Pool()
    waiting = (window for windows in posts for window in windows)
    while True:
        if len(pool) < pool_posts - pool_posts // 8:
            for window in islice(waiting, pool_posts - len(pool)):
                pool.add(window)
        if not (taken := pool.take(budget)):
            return
        yield taken
