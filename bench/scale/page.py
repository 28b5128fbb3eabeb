"""docs/scaling.md, from the figures of one run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from bench.scale.grown import Grown
from bench.scale.plan import BUSY, PEAK, Costs, needs
from bench.tables import markdown

DOLLARS_A_CORE_HOUR = 0.04
"""A general-purpose core with 4 GB at a large provider, on demand; an assumption, the one number here not measured."""
PICTURE = "scaling.svg"
A_DAY = (1e6, 10e6, 100e6, 1e9)


def costs_of(null: Grown, real: Grown) -> Costs:
    """Of a whole path with the shipped model; the rate of one worker is that with a model that costs nothing."""
    return Costs(
        worker_s=real.applied.cpu_s,
        triton_s=real.applied.triton_cpu_s,
        redis_s=null.redis_cpu_s,
        worker_posts_per_s=null.applied.posts_per_s,
        worker_mb=real.worker_mb,
    )


def render(machine: Mapping[str, str], grid: Sequence[Grown], curve: Sequence[Grown], real: Grown) -> str:
    """The page; the largest run of the curve gives the costs."""
    costs = costs_of(max(curve, key=lambda each: each.load.posts), real)
    return PAGE.format(
        picture=PICTURE,
        machine="\n".join(f"| {name} | {value} |" for name, value in machine.items()),
        grid_posts=f"{grid[0].load.posts:,}",
        grid=markdown(("workers", "partitions", *HEAD), [_of_grid(each) for each in grid]),
        curve=markdown(("posts", *HEAD, "Redis, MB a million posts"), [_of_curve(each) for each in curve]),
        flat=_flat(curve),
        worker_s=costs.worker_s, triton_s=costs.triton_s, redis_s=costs.redis_s,
        posts_per_s=costs.worker_posts_per_s, worker_mb=costs.worker_mb,
        real_posts=f"{real.load.posts:,}", real_rate=real.applied.posts_per_s,
        busy=BUSY * 100, peak=PEAK, dollars=DOLLARS_A_CORE_HOUR, plan=_plan(costs),
    )  # fmt: skip


HEAD = ("posts/s until in Redis", "worker CPU s / 1,000", "Redis CPU s / 1,000", "workers, MB", "Redis, MB")


def _cells(each: Grown) -> tuple[str, ...]:
    return (
        f"{each.applied.posts_per_s:,.0f}",
        f"{each.applied.cpu_s:.2f}",
        f"{each.redis_cpu_s:.2f}",
        f"{each.worker_mb:.0f}",
        f"{each.redis_mb:.0f}",
    )


def _of_grid(each: Grown) -> tuple[str, ...]:
    return str(each.load.workers), str(each.load.partitions * 2), *_cells(each)


def _of_curve(each: Grown) -> tuple[str, ...]:
    return f"{each.load.posts:,}", *_cells(each), f"{each.redis_mb_a_million:.0f}"


def _flat(curve: Sequence[Grown]) -> str:
    """How the largest run compares with the smallest, in words."""
    first, last = curve[0], curve[-1]
    rate = last.applied.posts_per_s / first.applied.posts_per_s
    return (
        f"From {first.load.posts:,} to {last.load.posts:,} posts the rate goes to {rate:.2f} of what it was, and the "
        f"memory of the worker\nfrom {first.worker_mb:.0f} to {last.worker_mb:.0f} MB. What Redis holds of a million "
        f"goes from {first.redis_mb_a_million:.0f} to {last.redis_mb_a_million:.0f} MB: the dates of all posts lie\n"
        "within the same hour, so that more of them share their cells, and their texts repeat."
    )


def _plan(costs: Costs) -> str:
    rows = []
    for posts in A_DAY:
        need = needs(posts, costs)
        rows.append(
            (
                f"{posts:,.0f}",
                f"{need.posts_per_s:,.0f}",
                f"{need.worker_cores:,.1f}",
                f"{need.triton_cores:,.1f}",
                need.workers,
                need.partitions,
                need.redis,
                f"{need.redis_gb:,.1f}",
                f"{need.paid_cores * 24 * DOLLARS_A_CORE_HOUR / (posts / 1e6):.2f}",
                f"{need.paid_cores * 24 * 30 * DOLLARS_A_CORE_HOUR:,.0f}",
            )
        )
    return markdown(
        ("posts a day", "in the busiest hour, /s", "cores, workers", "cores, Triton", "workers", "partitions, at least",
         "Redis primaries", "Redis, GB", "$ a million posts", "$ a month"), rows,
    )  # fmt: skip


PAGE = """\
# From a laptop to a billion posts a day

Written by `make bench-scale` (`python -m bench.scale`); do not edit. Every number of the last table follows from what
was measured here, by the rules below it; with other hardware run it there.

| measured on | |
|---|---|
{machine}

![Rate and memory over workers, partitions and posts]({picture})

## Workers and partitions

The null model, {grid_posts} posts, whole path. A rate counts the posts between the moment when a fifth of them was in
`enriched` and the moment when four fifths were in Redis; processor time is that of the same moments. Workers, Triton,
Redis and the broker share two processors: more workers cannot be faster than these are, and what is looked for is that
they cost nothing.

{grid}

## Posts

One worker, the null model, everything counted in Redis.

{curve}

{flat}

## What it takes

With the shipped model ({real_posts} posts, {real_rate:.0f} posts/s on these two processors) 1,000 posts take
{worker_s:.2f} s of a processor in the worker, {triton_s:.2f} s in Triton and {redis_s:.2f} s in Redis. One worker
process does {posts_per_s:.0f} posts/s when the model costs nothing; it holds {worker_mb:.0f} MB.

{plan}

- The busiest hour has {peak:g} times the mean rate, and processors are busy {busy:.0f} % of it: what is left takes the
  backlog of a restart.
- A worker reads at least one partition of an input topic; give each topic more partitions than workers will ever be
  needed, since they cannot be taken back. Outputs have one partition for each of them.
- Triton's cores are those of this processor with the shipped int8 model. An accelerator takes their place; what it does
  was not measured.
- Redis' memory is not that of the runs above, whose posts are the same few thousand again and again, but what posts of
  a real stream's variety took: 660 MB of a million for two days, 370 MB from 50 posts/s on
  ([redis-layout.md](redis-layout.md)). Where more posts share their cells it takes less.
- The index of stories has one hash tag, hence one primary, and holds at most 33 million entries of a day, 14 for a new
  story: up to 2.4 million new stories. Beyond that posts count as stories of their own.
- A Redis primary uses one processor. Keys carry the input partition as hash tag, so that partitions spread over the
  slots of a Redis Cluster; the client speaks to one primary, so today more than one means one installation each.
- {dollars:g} $ for a core and hour, with 4 GB, is an assumption. It pays for workers, Triton and Redis; not for Kafka,
  storage and traffic.
"""
