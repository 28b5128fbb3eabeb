"""Draws what grows and what does not: over workers and partitions, and over posts."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import matplotlib as mpl
from matplotlib.figure import Figure as Drawing
from matplotlib.ticker import EngFormatter

from bench.page.charts import OURS, STYLE, save
from bench.scale.grown import Grown

SHADES = ("#9ecae1", "#4292c6", OURS)


def draw(path: Path, grid: Sequence[Grown], curve: Sequence[Grown]) -> None:
    """Rates of the grid, and rate, worker's memory and Redis's memory for a million posts along the curve."""
    posts = [each.load.posts for each in curve]
    along = {
        "posts/s until in Redis": [each.applied.posts_per_s for each in curve],
        "worker, MB": [each.worker_mb for each in curve],
        "Redis, MB a million posts": [each.redis_mb_a_million for each in curve],
    }
    with mpl.rc_context(STYLE):
        drawing = Drawing(figsize=(8, 5.2), layout="constrained")
        first, *others = drawing.subplots(2, 2).flat
        partitions = sorted({each.load.partitions for each in grid})
        for shade, count in zip(SHADES[-len(partitions) :], partitions, strict=True):
            runs = [each for each in grid if each.load.partitions == count]
            workers = [each.load.workers for each in runs]
            rates = [each.applied.posts_per_s for each in runs]
            first.plot(workers, rates, marker="o", color=shade, label=f"{2 * count} partitions")
        first.set_xticks(sorted({each.load.workers for each in grid}))
        first.set_xlabel("workers, on the same processors")
        first.set_ylabel("posts/s until in Redis")
        first.legend(frameon=False)
        for axes, (name, values) in zip(others, along.items(), strict=True):
            axes.semilogx(posts, values, marker="o", color=OURS)
            axes.xaxis.set_major_formatter(EngFormatter(sep=""))
            axes.set_xlabel("posts")
            axes.set_ylabel(name)
        for axes in (first, *others):
            axes.set_ylim(0, 1.15 * axes.get_ylim()[1])
            axes.spines[["top", "right"]].set_visible(False)
        save(drawing, path)
