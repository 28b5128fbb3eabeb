"""From the cost of a thousand posts to what a rate of posts needs. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil

DAY_S = 86_400
BUSY = 0.6
"""How much of a processor may be used on average: a day has its peaks, and a restart its backlog."""
PEAK = 2.0
"""The busiest hour to the mean one."""
REDIS_MB = ((50.0, 370.0), (0.0, 660.0))
"""From so many posts per second on, what Redis holds of a million for two days: docs/redis-layout.md, synthetic posts
of a real stream's variety, which those of the bench lack. Where more share their cells it is an upper bound."""
KEPT_DAYS = 2
GB_A_CORE = 4.0
"""Memory that is paid with a processor."""


@dataclass(frozen=True)
class Costs:
    """Measured on one machine.

    Args:
        worker_s, triton_s, redis_s: processor seconds for 1,000 posts.
        worker_posts_per_s: what one worker process does at most, whatever the model costs.
        worker_mb: resident, one process.
    """

    worker_s: float
    triton_s: float
    redis_s: float
    worker_posts_per_s: float
    worker_mb: float


@dataclass(frozen=True)
class Needs:
    """What a number of posts a day needs.

    Args:
        posts_per_s: in the busiest hour.
        workers: processes; each runs Python on one processor.
        partitions: of all input topics together, at least: one worker reads one at the least.
        redis: primaries, since each uses one processor; their slots follow from the partitions' hash tags.
        redis_gb: for two days of posts.
        paid_cores: processors of workers and Triton, and those of Redis or of its memory, whichever are more.
    """

    posts_per_day: float
    posts_per_s: float
    worker_cores: float
    triton_cores: float
    workers: int
    partitions: int
    redis: int
    redis_gb: float
    paid_cores: float


def needs(posts_per_day: float, costs: Costs) -> Needs:
    """Sized for the busiest hour, with processors `BUSY` of the time."""
    mean = posts_per_day / DAY_S
    rate = mean * PEAK
    worker_cores, triton_cores, redis_cores = (
        rate * cost_s / 1000 / BUSY for cost_s in (costs.worker_s, costs.triton_s, costs.redis_s)
    )
    workers = max(1, ceil(worker_cores), ceil(rate / (costs.worker_posts_per_s * BUSY)))
    redis_mb = next(mb for from_rate, mb in REDIS_MB if mean >= from_rate)
    redis_gb = posts_per_day * KEPT_DAYS / 1e6 * redis_mb / 1000
    return Needs(
        posts_per_day=posts_per_day,
        posts_per_s=rate,
        worker_cores=worker_cores,
        triton_cores=triton_cores,
        workers=workers,
        partitions=workers,
        redis=max(1, ceil(redis_cores)),
        redis_gb=redis_gb,
        paid_cores=worker_cores + triton_cores + max(redis_cores, redis_gb / GB_A_CORE),
    )
