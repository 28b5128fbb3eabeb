"""`python -m bench.scale`: what grows with workers, partitions and posts; writes docs/scaling.md.

    python -m bench.scale                       # up to a million posts: about 45 minutes on two cores
    python -m bench.scale --most 30000          # a quick look; writes no page

The last line is one JSON object.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from dataclasses import asdict
from itertools import product
from pathlib import Path

from bench.machine import describe
from bench.scale.grown import Load, measure
from bench.scale.page import PICTURE, costs_of, render
from bench.scale.picture import draw
from bench.servers import Ground, running_kafka
from worker.errors import PolyvoxError
from worker.settings import REPOSITORY

MOST = 1_000_000
CURVE = (10_000, 100_000, MOST)
GRID_POSTS = 20_000
GRID = tuple(each for each in product((1, 2, 3), (1, 4, 12)) if each[0] <= each[1])
"""Workers and partitions of each input topic; a worker without a partition would have nothing to do."""
REAL_POSTS = 3_000


def arguments(given: list[str] | None = None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        "bench.scale", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--most", type=int, default=MOST, help=f"posts of the largest run (default {MOST})")
    parser.add_argument("--page", type=Path, default=REPOSITORY / "docs" / "scaling.md", help="the page to write")
    options = parser.parse_args(given)
    if options.most < 1000:
        parser.error("at least 1000 posts")
    return options


def main(options: argparse.Namespace) -> int:
    """Run everything; the exit code."""
    started_s = time.monotonic()

    def say(line: str) -> None:
        print(f"[{time.monotonic() - started_s:5.0f} s] {line}", flush=True)

    curve = [Load(posts) for posts in CURVE if posts < options.most] + [Load(options.most)]
    few = min(GRID_POSTS, options.most)
    grid = [Load(few, workers, partitions) for workers, partitions in GRID]
    real = Load(min(REAL_POSTS, options.most), null=False)
    try:
        with running_kafka(say) as kafka:
            ground = Ground(kafka, REPOSITORY / "triton_models", REPOSITORY / "samples", say)
            machine = describe(kafka.name, say)
            found = measure(ground, [*grid, *curve, real])
    except PolyvoxError as error:
        print(f"bench.scale: {error}", file=sys.stderr)
        return 1
    of_grid, of_curve, of_real = found[: len(grid)], found[len(grid) : -1], found[-1]
    if options.most == MOST:
        options.page.write_text(render(machine, of_grid, of_curve, of_real), encoding="utf-8")
        draw(options.page.with_name(PICTURE), of_grid, of_curve)
        say(f"wrote {options.page}")
    costs = costs_of(of_curve[-1], of_real)
    print(json.dumps({"machine": machine, "costs": asdict(costs), "runs": [asdict(each) for each in found]}))
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main(arguments()))
    except KeyboardInterrupt:
        sys.exit(130)
