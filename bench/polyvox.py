"""Contender: polyvox itself, one worker process or more as `polyvox run` starts them, on a backlog of posts."""

from __future__ import annotations

import asyncio
import contextlib
import re
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from bench.cpu import Trace
from bench.measure import Progress
from bench.servers import Scene, as_settings
from bench.store import empty
from worker.errors import PolyvoxError
from worker.feeds.topics import ensure_topics
from worker.local.process import log_tail
from worker.local.worker import WorkerProcess, get
from worker.opinion.client import Link
from worker.opinion.queries import Queries
from worker.opinion.reader import RedisReader
from worker.settings import Settings

POLL_S = {"all": 0.2, "enrich": 0.5}
"""How often progress is asked for: Redis answers in a millisecond, the worker's metrics take it several."""

STALL_S = 60.0
RECORDS = re.compile(r'^polyvox_records_total\{outcome="(\w+)"\} (\S+)$', re.MULTILINE)
TOKENS = re.compile(r'^polyvox_tokens_total\{kind="(\w+)"\} (\S+)$', re.MULTILINE)

During = Callable[[int], None]
"""Is told the worker's process id."""


@dataclass(frozen=True)
class Plan:
    """How polyvox runs.

    Attributes:
        role: `all`, or `enrich` alone.
        options: further environment variables.
        workers: processes.
        during: called once when a tenth of the posts is done.
    """

    role: str
    options: Mapping[str, str] = field(default_factory=dict)
    workers: int = 1
    during: During | None = None


@dataclass(frozen=True)
class Run:
    """What one run showed.

    Attributes:
        published: posts in `enriched`.
        applied: posts counted in Redis; empty without the aggregate stage.
        traces: processor time of the workers and of Triton.
        padded_tokens: tokens sent to the model, padding included, for each real one.
        start_s: from the start of the first process to its first record in `enriched`.
    """

    published: Progress
    applied: Progress
    traces: Mapping[str, Trace]
    padded_tokens: float
    start_s: float


def run_polyvox(scene: Scene, plan: Plan) -> Run:
    """Start workers on the scene's backlog and watch them until every post has its outcome. Redis is emptied first.

    Raises:
        PolyvoxError: one failed or stalled, or a post was dead-lettered.
    """
    environment = scene.variables() | {"POLYVOX_ROLE": plan.role, **plan.options}
    settings = as_settings(environment)
    ensure_topics(settings)
    asyncio.run(empty(settings))
    started_s = time.time()
    with running_workers(environment, scene.directory, plan.workers) as workers:
        with scene.meter(*process_ids(settings.app_id)) as meter:
            watched = asyncio.run(_watch(scene, settings, workers, plan.during))
        padded_tokens = _padded_tokens(workers)
    published = scene.published(settings, scene.count)
    applied = watched if plan.role == "all" else ()
    return Run(published, applied, dict(meter.traces), padded_tokens, published[0][0] - started_s)


@contextlib.contextmanager
def running_workers(environment: Mapping[str, str], directory: Path, count: int) -> Iterator[list[WorkerProcess]]:
    """Workers of one group that started together and are ready; stopped at the end, killed after an exception."""
    name = environment["POLYVOX_APP_ID"]
    workers = [WorkerProcess(environment, directory / f"{name}-{number}.log") for number in range(count)]
    try:
        for worker in workers:
            worker.wait_ready()
        yield workers
    except BaseException:
        for worker in workers:
            worker.kill()
        raise
    finally:
        for worker in workers:
            worker.stop()


async def _watch(scene: Scene, settings: Settings, workers: list[WorkerProcess], during: During | None) -> Progress:
    link = Link.of(settings)
    queries = Queries(RedisReader(link), settings)
    done_of = _applied(queries) if settings.role == "all" else _published(workers)
    seen = [(time.time(), 0)]
    pending: asyncio.Task[None] | None = None
    try:
        while seen[-1][1] < scene.count:
            await asyncio.sleep(POLL_S[settings.role])
            for worker in workers:
                worker.require_running()
            now_s, done = time.time(), await done_of()
            if done > seen[-1][1] or len(seen) == 1:
                seen.append((now_s, done))
            elif now_s - seen[-1][0] > STALL_S:
                raise PolyvoxError(f"{done} of {scene.count} posts, then nothing:\n{log_tail(workers[0].log)}")
            if during is not None and pending is None and done > scene.count / 10:
                pending = asyncio.create_task(asyncio.to_thread(during, process_ids(settings.app_id)[0]))
        if pending is not None:
            await pending
    finally:
        await link.aclose()
    return seen


def _applied(queries: Queries) -> Callable[[], Awaitable[int]]:
    async def ask() -> int:
        totals = await queries.totals()
        _refuse_dead_letters(totals.dead_lettered)
        return totals.received

    return ask


def _published(workers: list[WorkerProcess]) -> Callable[[], Awaitable[int]]:
    async def ask() -> int:
        counts = await asyncio.to_thread(_sums, workers, RECORDS)
        _refuse_dead_letters(round(counts["dead_lettered"]))
        return round(counts.total())

    return ask


def _sums(workers: list[WorkerProcess], pattern: re.Pattern[str]) -> Counter[str]:
    """A metric of all workers, by its label."""
    counts: Counter[str] = Counter()
    for worker in workers:
        for label, value in pattern.findall(get(worker.health, "/metrics")[1]):
            counts[label] += float(value)
    return counts


def _padded_tokens(workers: list[WorkerProcess]) -> float:
    counts = _sums(workers, TOKENS)
    return counts.total() / counts["real"] if counts["real"] else 0.0


def _refuse_dead_letters(count: int) -> None:
    if count:
        raise PolyvoxError(f"{count} posts of the bench became dead letters: what is measured is something else")


def process_ids(app_id: str) -> list[int]:
    """The running workers of this application, found in /proc: the bench's children are the guards that started them.

    Raises:
        PolyvoxError: there is none.
    """
    variable, found = f"POLYVOX_APP_ID={app_id}".encode(), []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            arguments = (process / "cmdline").read_bytes().split(b"\0")
            if arguments[1:4] == [b"-m", b"worker", b"run"] and variable in (process / "environ").read_bytes():
                found.append(int(process.name))
        except OSError:  # it ended, or is somebody else's
            continue
    if not found:
        raise PolyvoxError(f"no worker of {app_id} runs")
    return found
