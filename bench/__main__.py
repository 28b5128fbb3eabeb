"""`python -m bench`: how fast polyvox is, beside bare Triton, a bare aiokafka loop and a bare Faust agent.

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
from pathlib import Path

from bench.machine import describe
from bench.null import measure_null, measure_profile
from bench.page import Report, render, summary
from bench.real import measure_real
from worker.analysis.bundle import Bundle
from worker.errors import PolyvoxError
from worker.local.environment import REPOSITORY

PARTS = ("real", "null", "profile")
NULL_FACTOR = 4
"""The null model gets so many times the posts of the real one: it is that much faster."""


def arguments(given: list[str] | None = None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser("bench", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--posts", type=int, default=5400, help="posts of a run with the real model (default 5400)")
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

    models, samples, posts = options.models.resolve(), options.samples.resolve(), options.posts
    try:
        bundle = Bundle.load(models / "analyzer" / "1")
        model = f"{bundle.model.version}, {bundle.model_file.stat().st_size / 1e6:.0f} MB"
        machine = describe()
        say(f"{machine['processor']}; load {machine['load before the start (1, 5, 15 minutes)']}; model {model}")
        real = measure_real(models, samples, posts, options.repeats, say) if "real" in options.only else None
        many = posts * NULL_FACTOR
        null = measure_null(models, samples, many, options.repeats, say) if "null" in options.only else None
        profile = measure_profile(models, samples, many, say) if "profile" in options.only else None
    except PolyvoxError as error:
        print(f"bench: {error}", file=sys.stderr)
        return 1
    report = Report(machine, model, options.repeats, time.monotonic() - started_s, real, null, profile)
    if set(options.only) == set(PARTS):
        options.page.write_text(render(report))
        say(f"wrote {options.page}")
    print(json.dumps(summary(report), ensure_ascii=False))
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main(arguments()))
    except KeyboardInterrupt:
        sys.exit(130)
