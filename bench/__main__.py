"""`python -m bench`: how fast polyvox is, beside what it is made of and beside other ways to do the same.

    python -m bench                                 # everything; writes docs/performance.md
    python -m bench --posts 300 --repeats 1         # a quick look; the figures mean little
    python -m bench --only real --json | jq .real_model

The last line is one JSON object. A run of one part alone writes no page.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from dataclasses import replace
from pathlib import Path
from statistics import median

from bench.live import measure_live
from bench.machine import describe
from bench.null import measure_null, measure_profile
from bench.page import Report, draw, render, summary
from bench.real import measure_real
from bench.servers import Ground, Say, running_kafka
from bench.startup import help_times_s
from bench.tables import rate_of
from bench.tune_triton import kept_section
from worker.analysis.bundle import Bundle
from worker.errors import PolyvoxError
from worker.settings import REPOSITORY

PARTS = ("start", "real", "live", "null", "profile")
USUAL_POSTS_PER_S = 280.0
"""What half load is half of when latency is measured without the rate on a backlog."""

POSTS_PER_S_OF_LATENCY = 120
"""The seconds of the latency run are the posts of a run divided by this."""

NULL_FACTOR = 4
"""The null model gets so many times the posts of the real one: it is that much faster."""

PROFILE_FACTOR = 4
"""And so many times those for the profile: the flame graph, drawn after the table, must not show an idle worker."""


def arguments(given: list[str] | None = None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser("bench", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    # Not fewer on slow machines: the middle of a short run is no average for those who sort what they see (speed.md).
    parser.add_argument("--posts", type=int, default=4800, help="posts of a run with the real model (default 4800)")
    parser.add_argument("--repeats", type=int, default=3, help="runs of each contender (default 3)")
    parser.add_argument("--only", nargs="+", choices=PARTS, default=PARTS, help="parts to run")
    parser.add_argument("--json", action="store_true", help="nothing but the JSON object on standard output")
    parser.add_argument("--models", type=Path, default=REPOSITORY / "triton_models", help="another model repository")
    parser.add_argument("--samples", type=Path, default=REPOSITORY / "samples", help="other posts")
    parser.add_argument("--page", type=Path, default=REPOSITORY / "docs" / "performance.md", help="the page to write")
    options = parser.parse_args(given)
    if options.posts < 100 or options.repeats < 1:
        parser.error("at least 100 posts and one repeat")
    return options


def main(options: argparse.Namespace) -> int:
    """Run the parts; the exit code."""
    started_s = time.monotonic()

    def say(line: str) -> None:
        print(
            f"[{time.monotonic() - started_s:5.0f} s] {line}",
            file=sys.stderr if options.json else sys.stdout,
            flush=True,
        )

    try:
        report, flame = measure(options, say)
    except PolyvoxError as error:
        print(f"bench: {error}", file=sys.stderr)
        return 1
    report = replace(report, seconds=time.monotonic() - started_s)
    if set(options.only) == set(PARTS):
        options.page.write_text(render(report))
        draw(report, options.page.parent)
        say(f"wrote {options.page}")
        if flame:
            options.page.with_name("flame.svg").write_text(flame)
    print(json.dumps(summary(report), ensure_ascii=False))
    return 0


def measure(options: argparse.Namespace, say: Say) -> tuple[Report, str]:
    """Run the parts; what they found, and the flame graph."""
    models, only, many = options.models.resolve(), options.only, options.posts * NULL_FACTOR
    bundle = Bundle.load(models / "analyzer" / "1")
    model = f"{bundle.model.version}, {bundle.model_file.stat().st_size / 1e6:.0f} MB"
    real = null = live = profile = None
    flame = ""
    with running_kafka(say) as kafka:
        ground = Ground(kafka, models, options.samples.resolve(), say)
        machine = describe(kafka.name, say)
        say(f"{machine['processor']}; load {machine['load before the start (1, 5, 15 minutes)']}; model {model}")
        help_s = help_times_s() if "start" in only else []
        if "real" in only:
            real = measure_real(ground, options.posts, options.repeats)
        if "live" in only:
            rate = median(rate_of(real.runs["path_published"])) if real else USUAL_POSTS_PER_S
            live = measure_live(ground, rate, options.posts / POSTS_PER_S_OF_LATENCY)
        if "null" in only:
            null = measure_null(ground, many, options.repeats)
        if "profile" in only:
            profile, flame = measure_profile(ground, many * PROFILE_FACTOR)
    tuning = kept_section(options.page.read_text()) if options.page.exists() else ""
    return Report(machine, model, options.repeats, 0.0, real, null, live, help_s, profile, tuning), flame


if __name__ == "__main__":
    try:
        sys.exit(main(arguments()))
    except KeyboardInterrupt:
        sys.exit(130)
