"""`python -m bench.shifts`: how well the index covers the truth, how often and how late shift detectors speak.

    python -m bench.shifts                     # everything, on two cores; writes docs/shifts.md and its picture
    python -m bench.shifts --scale 0.1         # a quick look; the figures mean little
    python -m bench.shifts --only coverage
    python -m bench.shifts --seed 1            # other random numbers than those that constants were chosen on

The last line is one JSON object: every figure beside its target, and the names of those that miss it.
A run of some parts alone, at another scale or with another seed writes no page.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from concurrent.futures import Future, ProcessPoolExecutor
from pathlib import Path

from rich.console import Console
from rich.table import Table

from bench.machine import hardware
from bench.shifts import coverage, delays, page, picture, planted, rates, real, scenarios
from bench.shifts.figures import Figure
from bench.shifts.world import REPOSITORY

SEED = 20261125
PARTS = {
    "scenarios": lambda scale, seed: scenarios.figures(
        scenarios.measure(max(round(scenarios.SCENARIO_KEYS * scale), 60), seed + 4)
    ),
    "real_posts": lambda scale, seed: real.measure(max(round(400 * scale), 40), seed + 7),
    "independent_keys": lambda scale, seed: rates.measure(500, _days(scale), seed, shared=False),
    "keys_sharing_posts": lambda scale, seed: rates.measure(500, _days(scale), seed + 1, shared=True),
    "delays_200": lambda scale, seed: delays.figures(delays.measure(200, max(round(300 * scale), 30), seed + 2)),
    "delays_1000": lambda scale, seed: delays.figures(delays.measure(1000, max(round(300 * scale), 30), seed + 3)),
    "coverage": lambda scale, seed: coverage.measure(max(round(4000 * scale), 100), seed + 5),
    "decomposition": lambda scale, seed: planted.measure(max(round(600 * scale), 40), seed + 6),
}
"""What is measured, the longest first: each part is one task of a process."""
CORES = 2


def arguments(given: list[str] | None = None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        "bench.shifts", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--scale", type=float, default=1.0, help="of keys, runs and days (default 1)")
    parser.add_argument("--only", nargs="+", choices=PARTS, default=list(PARTS), help="parts to run")
    parser.add_argument("--seed", type=int, default=SEED, help=f"of all random numbers (default {SEED})")
    parser.add_argument("--page", type=Path, default=REPOSITORY / "docs" / "shifts.md", help="the page to write")
    options = parser.parse_args(given)
    if not 0 < options.scale <= 1:
        parser.error("--scale is above 0 and at most 1")
    return options


def part(name: str, scale: float, seed: int) -> tuple[list[Figure], float]:
    """One part: its figures, and how many seconds it took."""
    started_s = time.monotonic()
    return PARTS[name](scale, seed), time.monotonic() - started_s


def _days(scale: float) -> int:
    """Days without shifts; a quick look needs some beyond the warm-up."""
    return round(90 * scale) + 10 * (scale < 1)


def main(options: argparse.Namespace) -> int:
    """Run the parts side by side; the exit code is 0 also when targets are missed: they are named."""
    console, started_s = Console(width=120), time.monotonic()
    console.print(f"seed {options.seed}; {hardware()}; parts: {', '.join(options.only)}", highlight=False)
    found: dict[str, list[Figure]] = {}
    with ProcessPoolExecutor(CORES) as pool:
        waiting: dict[str, Future[tuple[list[Figure], float]]] = {
            name: pool.submit(part, name, options.scale, options.seed) for name in PARTS if name in options.only
        }
        for name, future in waiting.items():
            found[name], took_s = future.result()
            console.print(f"[{time.monotonic() - started_s:4.0f} s] {name}: {took_s:.0f} s", markup=False)
            console.print(_table(name, found[name]))
    seconds = time.monotonic() - started_s
    if set(options.only) == set(PARTS) and options.scale == 1 and options.seed == SEED:
        picture.draw(options.page.with_suffix(".png"), options.seed)
        options.page.write_text(page.render(found, seconds, options.seed))
        console.print(f"wrote {options.page}")
    figures = [figure for of_part in found.values() for figure in of_part]
    missed = [figure.name for figure in figures if figure.ok is False]
    shown = {figure.name: figure.summary() for figure in figures}
    print(
        json.dumps({"seed": options.seed, "seconds": round(seconds), "missed": missed, "misses": len(missed), **shown})
    )
    return 0


def _table(name: str, figures: list[Figure]) -> Table:
    table = Table("figure", "value", "95 %", "target", "", title=name)
    for one in figures:
        interval = "" if one.interval is None else f"{one.interval[0]:.3g} to {one.interval[1]:.3g}"
        verdict = "" if one.ok is None else "yes" if one.ok else "MISSED"
        table.add_row(one.name, f"{one.value:.4g}", interval, one.target, verdict)
    return table


if __name__ == "__main__":
    try:
        sys.exit(main(arguments()))
    except KeyboardInterrupt:
        sys.exit(130)
