"""From the cost of a thousand posts to what a rate of posts needs. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil

DAY_S = 86_400
BUSY = 0.6
"""How much of a processor may be used on average: a day has its peaks, and a restart its backlog."""
PEAK = 2.0
"""The busiest hour to the mean one."""


@dataclass(frozen=True)
class Costs:
    """Measured on one machine.

    Args:
        worker_s, triton_s, redis_s: processor seconds for 1,000 posts.
        worker_posts_per_s: what one worker process does at most, whatever the model costs.
        redis_mb: for a million posts, as they are kept in the first two days.
        worker_mb: resident, one process.
    """

    worker_s: float
    triton_s: float
    redis_s: float
    worker_posts_per_s: float
    redis_mb: float
    worker_mb: float


@dataclass(frozen=True)
class Needs:
    """What a number of posts a day needs.

    Args:
        posts_per_s: in the busiest hour.
        cores: processors of workers, Triton and Redis together.
        workers: processes.
        partitions: of all input topics together, at least: one worker reads one at the least.
        redis: primaries, since each uses one processor; their slots follow from the partitions' hash tags.
        redis_gb: for two days of posts.
        core_hours: for a million posts.
    """

    posts_per_day: float
    posts_per_s: float
    worker_cores: float
    triton_cores: float
    workers: int
    partitions: int
    redis: int
    redis_gb: float
    core_hours: float


def needs(posts_per_day: float, costs: Costs) -> Needs:
    """Sized for the busiest hour, with processors `BUSY` of the time."""
    rate = posts_per_day / DAY_S * PEAK
    per_post_s = (costs.worker_s + costs.triton_s + costs.redis_s) / 1000
    workers = max(1, ceil(rate / (costs.worker_posts_per_s * BUSY)))
    return Needs(
        posts_per_day=posts_per_day,
        posts_per_s=rate,
        worker_cores=rate * costs.worker_s / 1000 / BUSY,
        triton_cores=rate * costs.triton_s / 1000 / BUSY,
        workers=workers,
        partitions=workers,
        redis=max(1, ceil(rate * costs.redis_s / 1000 / BUSY)),
        redis_gb=posts_per_day * 2 / 1e6 * costs.redis_mb / 1000,
        core_hours=per_post_s * 1e6 / 3600 * PEAK / BUSY,
    )
