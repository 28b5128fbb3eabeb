"""Contender: polyvox itself, one worker process as `polyvox run` starts it, on a backlog of posts."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from bench.measure import Progress
from bench.servers import Scene, as_settings
from worker.errors import PolyvoxError
from worker.local.process import log_tail
from worker.local.worker import WorkerProcess, get, running_worker
from worker.opinion.client import Link
from worker.opinion.queries import Queries
from worker.opinion.reader import RedisReader
from worker.settings import Settings

POLL_S = {"all": 0.2, "enrich": 0.5}
"""How often progress is asked for: Redis answers in a millisecond, the worker's metrics take it several."""

STALL_S = 60.0
RECORDS = re.compile(r'^polyvox_records_total\{outcome="(\w+)"\} (\S+)$', re.MULTILINE)

During = Callable[[int], None]
"""Is told the worker's process id."""


@dataclass(frozen=True)
class Run:
    """What one run showed: posts in `enriched`, and posts counted in Redis (empty without the aggregate stage)."""

    published: Progress
    applied: Progress


def run_polyvox(scene: Scene, role: str, options: Mapping[str, str], during: During | None = None) -> Run:
    """Start a worker on the scene's backlog and watch it until every post has its outcome.

    Args:
        scene: the servers; Redis is emptied.
        role: `all`, or `enrich` alone.
        options: further environment variables.
        during: called once when a tenth of the posts is done.

    Raises:
        PolyvoxError: it failed, stalled, or dead-lettered a post.
    """
    environment = scene.variables() | {"POLYVOX_ROLE": role, **options}
    settings = as_settings(environment)
    log = scene.directory / f"{settings.app_id}.log"
    asyncio.run(_empty_redis(settings))
    with running_worker(environment, log, lambda _: None) as worker:
        watched = asyncio.run(_watch(scene, settings, worker, during))
    return Run(scene.published(settings, scene.count), watched if role == "all" else ())


async def _watch(scene: Scene, settings: Settings, worker: WorkerProcess, during: During | None) -> Progress:
    link = Link.of(settings)
    queries = Queries(RedisReader(link), settings)
    done_of = _applied(queries) if settings.role == "all" else _published(worker)
    seen = [(time.time(), 0)]
    pending: asyncio.Task[None] | None = None
    try:
        while seen[-1][1] < scene.count:
            await asyncio.sleep(POLL_S[settings.role])
            worker.require_running()
            now_s, done = time.time(), await done_of()
            if done > seen[-1][1] or len(seen) == 1:
                seen.append((now_s, done))
            elif now_s - seen[-1][0] > STALL_S:
                raise PolyvoxError(f"{done} of {scene.count} posts, then nothing:\n{log_tail(worker.log)}")
            if during is not None and pending is None and done > scene.count / 10:
                pending = asyncio.create_task(asyncio.to_thread(during, process_id(settings.app_id)))
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


def _published(worker: WorkerProcess) -> Callable[[], Awaitable[int]]:
    async def ask() -> int:
        _, exposition = await asyncio.to_thread(get, worker.health, "/metrics")
        counts = {outcome: round(float(count)) for outcome, count in RECORDS.findall(exposition)}
        _refuse_dead_letters(counts.get("dead_lettered", 0))
        return sum(counts.values())

    return ask


def _refuse_dead_letters(count: int) -> None:
    if count:
        raise PolyvoxError(f"{count} posts of the bench became dead letters: what is measured is something else")


def process_id(app_id: str) -> int:
    """The running worker of this application, found in /proc: the bench's child is the guard that started it.

    Raises:
        PolyvoxError: there is none.
    """
    variable = f"POLYVOX_APP_ID={app_id}".encode()
    for process in Path("/proc").glob("[0-9]*"):
        try:
            arguments = (process / "cmdline").read_bytes().split(b"\0")
            if arguments[1:4] == [b"-m", b"worker", b"run"] and variable in (process / "environ").read_bytes():
                return int(process.name)
        except OSError:  # it ended, or is somebody else's
            continue
    raise PolyvoxError(f"no worker of {app_id} runs")


async def _empty_redis(settings: Settings) -> None:
    """Forget the run before: it applied the same source offsets, which would count as repeats."""
    link = Link.of(settings)
    async with link.use("emptying the bench's database") as client:
        await client.flushdb()
    await link.aclose()
