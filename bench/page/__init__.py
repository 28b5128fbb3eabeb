"""docs/performance.md and the JSON summary, from the figures of one run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from bench.live import LiveFigures
from bench.measure import EDGE
from bench.null import NullFigures
from bench.page.charts import draw_rates
from bench.page.live import live_part
from bench.page.models import NULL_PICTURE, REAL_PICTURE, null_part, null_rows, real_part, real_rows
from bench.page.profile import profile_part
from bench.real import RealFigures, bare_name
from bench.stacks import Profile
from bench.targets import Target, targets


@dataclass(frozen=True)
class Report:
    """What one call of the bench found; a part that was left out is None."""

    machine: Mapping[str, str]
    model: str
    repeats: int
    seconds: float
    real: RealFigures | None
    null: NullFigures | None
    live: LiveFigures | None
    help_s: Sequence[float]
    profile: Profile | None
    tuning: str


def summary(report: Report) -> dict[str, Any]:
    """The run as one JSON object."""
    found: dict[str, Any] = {
        "machine": dict(report.machine),
        "model": report.model,
        "repeats": report.repeats,
        "seconds": round(report.seconds),
        "targets": {target.name: target.summary() for target in targets(report)},
    }
    if report.real is not None:
        rows = {name: row.summary() for name, row in real_rows(report.real).items()}
        found["real_model"] = {"posts": report.real.posts, "grid_posts_per_s": _grids(report.real), **rows}
    if report.null is not None:
        rows = {name: row.summary() for name, row in null_rows(report.null).items()}
        found["null_model"] = {"posts": report.null.posts, **rows}
    if report.live is not None:
        found["live"] = asdict(report.live)
    if report.profile is not None:
        found["profile"] = asdict(report.profile)
    return found


def _grids(figures: RealFigures) -> dict[str, float]:
    bare = {bare_name(each): rate for each, rate in figures.grid.items()}
    alone = {f"alone_{each.batch}_{each.sessions}x{each.threads}": rate for each, rate in figures.splits.items()}
    return {name: round(rate, 1) for name, rate in (bare | alone).items()}


def render(report: Report) -> str:
    """The page."""
    parts = [HEAD.format(begin=EDGE, end=1 - EDGE, repeats=report.repeats, seconds=report.seconds)]
    parts += [_machine(report), _targets(targets(report))]
    if report.real is not None:
        parts.append(real_part(report.real))
    if report.null is not None:
        parts.append(null_part(report.null))
    if report.live is not None:
        parts.append(live_part(report.live))
    if report.profile is not None:
        parts.append(profile_part(report.profile))
    if report.tuning:
        parts.append(report.tuning)
    return "\n\n".join(parts) + "\n"


def draw(report: Report, folder: Path) -> None:
    """The pictures that the page shows, beside it."""
    if report.real is not None:
        draw_rates(folder / REAL_PICTURE, real_rows(report.real), logarithmic=False)
    if report.null is not None:
        draw_rates(folder / NULL_PICTURE, null_rows(report.null), logarithmic=True)


HEAD = """\
# Performance

Written by `make bench` (`python -m bench`); do not edit. This run took {seconds:.0f} s.

Rates are posts per second: minimum, median and maximum of {repeats} repeats. In each repeat the contenders take
turns on the same servers and the same posts, which wait in the input topics before a run begins. A rate counts the
posts between the moments when {begin:.0%} and when {end:.0%} of them were done, for every contender alike: starting up
and the last batches, which are not full, are left out, and so is what is done and waits for an older post.

- Done is, for whatever writes to Kafka, the timestamp of the record in the output topic; for bare Triton and
  onnxruntime, the answer.
- "Until counted in Redis" runs from the first of these moments in the output topic to the second in Redis's totals.
- A ratio is taken within each repeat, against the row that says "reference".
- CPU seconds are user and system time of the contender's own processes between the same two moments, from /proc, for
  1,000 posts; beside them those of Triton meanwhile. Kafka and Redis are not counted for anybody."""


def _machine(report: Report) -> str:
    rows = [*report.machine.items(), ("model", report.model)]
    return "\n".join(["| measured on | |", "|---|---|", *(f"| {name} | {value} |" for name, value in rows)])


def _targets(found: Sequence[Target]) -> str:
    lines = ["## What was wanted", "", "| | wanted | found | |", "|---|---:|---:|---|"]
    for each in found:
        bound = f"{'at least' if each.at_least else 'at most'} {each.wanted:g}"
        value = "not measured" if each.found is None else f"{each.found:.2f}"
        verdict = "met" if each.met else "" if each.found is None else "missed"
        lines.append(f"| {each.name} | {bound} | {value} | {verdict} |")
    missed = [each.name for each in found if each.found is not None and not each.met]
    lines += [
        "",
        f"Missed: {'; '.join(missed) or 'nothing'}. Where the time goes is under each table and in the profile.",
    ]
    return "\n".join(lines)
