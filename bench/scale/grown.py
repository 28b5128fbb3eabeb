"""Runs of whole workers on backlogs of different sizes: rate, processor time, memory of the workers and of Redis."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace

from bench.cpu import Meter, own_process, resident_bytes
from bench.kafka import load
from bench.measure import Measured, used_s
from bench.null import FAST_MODEL, null_repository
from bench.polyvox import process_ids, running_workers
from bench.servers import Ground, Scene, as_settings, scene
from bench.store import empty, used_bytes
from bench.texts import inputs, record
from worker.errors import PolyvoxError
from worker.feeds.topics import ensure_topics
from worker.local.process import log_tail
from worker.local.worker import WorkerProcess
from worker.opinion.client import Link
from worker.opinion.queries import Queries
from worker.opinion.reader import RedisReader
from worker.settings import Settings

SLICE = 50_000
"""Posts that are on their way to the broker at once."""
LOOK_S = 0.5
STALL_S = 60.0
MB = 1e6
REDIS_PROCESS = "redis-server"


@dataclass(frozen=True)
class Load:
    """What is run.

    Args:
        partitions: of each of the two input topics.
        null: the model that answers at once, with the largest batches; else the shipped one.
    """

    posts: int
    workers: int = 1
    partitions: int = 4
    null: bool = True

    @property
    def topics(self) -> str:
        """The name of the input topics that hold it."""
        return f"scale{self.partitions}x{self.posts}"


@dataclass(frozen=True)
class Grown:
    """What one run showed.

    Args:
        applied: from the first fifth in `enriched` to the fourth in Redis, with the workers' and Triton's processor
            time: in a short run most is counted after all is published, in a long one while it is.
        redis_cpu_s: of Redis, for 1,000 posts.
        worker_mb: resident memory of all workers, the most that was seen.
        redis_mb: what Redis holds more than when it was empty.
    """

    load: Load
    applied: Measured
    redis_cpu_s: float
    worker_mb: float
    redis_mb: float

    @property
    def redis_mb_a_million(self) -> float:
        """What Redis would hold of a million posts, if it grew evenly."""
        return self.redis_mb / self.load.posts * 1e6


def measure(ground: Ground, loads: Sequence[Load]) -> list[Grown]:
    """Each in turn; those of one model share their servers."""
    found: dict[Load, Grown] = {}
    for null in (True, False):
        mine = [load for load in loads if load.null is null]
        if mine:
            with (
                null_repository(ground.models) as models,
                scene(replace(ground, models=models) if null else ground) as servers,
            ):
                for one in mine:
                    found[one] = _run(servers, one)
                    ground.say(_line(found[one]))
    return [found[one] for one in loads]


def _line(grown: Grown) -> str:
    what = f"{grown.load.posts:,} posts, {grown.load.workers} workers, {grown.load.partitions} partitions"
    return f"{what}: {grown.applied}, workers {grown.worker_mb:.0f} MB, Redis {grown.redis_mb:.0f} MB"


def _run(servers: Scene, load: Load) -> Grown:
    environment = servers.variables(load.topics, load.partitions) | (FAST_MODEL if load.null else {})
    settings = as_settings(environment)
    ensure_topics(settings)
    _fill(servers, settings, load)
    asyncio.run(empty(settings))
    empty_bytes = asyncio.run(used_bytes(settings))
    with running_workers(environment, servers.directory, load.workers) as workers:
        pids = process_ids(settings.app_id)
        meter = Meter(
            {"contender": pids, "triton": [own_process("tritonserver")], "redis": [own_process(REDIS_PROCESS)]}
        )
        with meter:
            applied, worker_mb = asyncio.run(_watch(settings, workers, pids, load.posts))
    redis_mb = (asyncio.run(used_bytes(settings)) - empty_bytes) / MB
    redis_s = used_s(meter.traces["redis"], applied[0][0], applied[-1][0])
    published = servers.published(settings, load.posts)
    return Grown(
        load,
        Measured.of(applied, load.posts, meter.traces, published),
        redis_s / load.posts * 1000,
        worker_mb,
        redis_mb,
    )


def _fill(servers: Scene, settings: Settings, wanted: Load) -> None:
    """Load the posts once; the next run of the same topics reads them anew, in a group of its own."""
    marker = servers.directory / wanted.topics
    if marker.exists():
        return
    servers.ground.say(f"loading {wanted.posts:,} posts into {wanted.partitions} partitions")
    posts, name = inputs(servers.ground.samples, wanted.posts), f"{servers.prefix}.{wanted.topics}"
    for start in range(0, len(posts), SLICE):
        asyncio.run(load(settings.kafka_brokers, (record(name, one) for one in posts[start : start + SLICE])))
    marker.touch()


async def _watch(
    settings: Settings, workers: Sequence[WorkerProcess], pids: Sequence[int], posts: int
) -> tuple[list[tuple[float, int]], float]:
    """Progress until every post is counted, and the most memory, MB."""
    link = Link.of(settings)
    queries, seen, most_mb = Queries(RedisReader(link), settings), [(time.time(), 0)], 0.0
    try:
        while seen[-1][1] < posts:
            await asyncio.sleep(LOOK_S)
            for worker in workers:
                worker.require_running()
            now_s, done = time.time(), (await queries.totals()).received
            most_mb = max(most_mb, sum(map(resident_bytes, pids)) / MB)
            if done > seen[-1][1]:
                seen.append((now_s, done))
            elif now_s - seen[-1][0] > STALL_S:
                raise PolyvoxError(f"{done} of {posts} posts, then nothing:\n{log_tail(workers[0].log)}")
    finally:
        await link.aclose()
    return seen, most_mb
