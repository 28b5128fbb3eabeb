"""docs/performance.md and the JSON summary, from the figures of one run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from statistics import median
from typing import Any

from bench.bare_triton import Setting
from bench.measure import EDGE, Spread, ratios
from bench.null import COPIED_FACTOR, FAST_MODEL, NullFigures
from bench.real import RealFigures, label
from bench.stacks import SECONDS, Profile
from worker.settings import Settings


@dataclass(frozen=True)
class Row:
    """A contender: its posts per second, and its ratio to the reference of its table."""

    name: str
    rate: Spread
    ratio: Spread | None

    def summary(self) -> dict[str, Any]:
        """For the JSON line."""
        ratio = {} if self.ratio is None else {"ratio": _rounded(self.ratio, 3)}
        return {"posts_per_s": _rounded(self.rate, 1), **ratio}


@dataclass(frozen=True)
class Report:
    """What one call of the bench found; a part that was left out is None."""

    machine: Mapping[str, str]
    model: str
    repeats: int
    seconds: float
    real: RealFigures | None
    null: NullFigures | None
    profile: Profile | None


NULL_NAMES = {
    "aiokafka": "bare aiokafka: `getmany`, `send_batch`",
    "faust": "bare Faust agent: `noack_take`, `send_batch`, uvloop",
    "enrich": "polyvox, enrich stage alone",
    "path_published": "polyvox, whole path, until in `enriched`",
    "path_applied": "polyvox, whole path, until counted in Redis",
}


def real_rows(figures: RealFigures) -> dict[str, Row]:
    """The reference, the setting of bare Triton with the best median, first."""
    best = max(figures.bare, key=lambda setting: median(figures.bare[setting]))
    reference = figures.bare[best]
    rows = {"bare_triton": Row(f"bare Triton, {label(best)} (the best)", Spread.of(reference), None)}
    for setting in [each for each in figures.bare if each != best]:
        rates = figures.bare[setting]
        name = f"bare_triton_{setting.batch}x{setting.in_flight}"
        rows[name] = Row(f"bare Triton, {label(setting)}", Spread.of(rates), ratios(rates, reference))
    for name, rates in (("path_published", figures.published), ("path_applied", figures.applied)):
        rows[name] = Row(NULL_NAMES[name], Spread.of(rates), ratios(rates, reference))
    return rows


def null_rows(figures: NullFigures) -> dict[str, Row]:
    """The reference is the bare Faust agent: what Faust leaves to do in time."""
    reference = figures.rates["faust"]
    return {
        name: Row(title, Spread.of(figures.rates[name]), ratios(figures.rates[name], reference))
        for name, title in NULL_NAMES.items()
    }


def summary(report: Report) -> dict[str, Any]:
    """The run as one JSON object."""
    found: dict[str, Any] = {
        "machine": dict(report.machine),
        "model": report.model,
        "repeats": report.repeats,
        "seconds": round(report.seconds),
    }
    if report.real is not None:
        grid = {f"{each.batch}x{each.in_flight}": round(rate, 1) for each, rate in report.real.grid.items()}
        rows = {name: row.summary() for name, row in real_rows(report.real).items()}
        found["real_model"] = {"posts": report.real.posts, "grid_posts_per_s": grid, **rows}
    if report.null is not None:
        rows = {name: row.summary() for name, row in null_rows(report.null).items()}
        found["null_model"] = {"posts": report.null.posts, **rows}
    if report.profile is not None:
        found["profile"] = asdict(report.profile)
    return found


def render(report: Report) -> str:
    """The page."""
    parts = [HEAD.format(begin=EDGE, end=1 - EDGE, repeats=report.repeats, seconds=report.seconds)]
    parts.append(_machine(report))
    if report.real is not None:
        parts.append(_real(report.real))
    if report.null is not None:
        parts.append(_null(report.null))
    if report.profile is not None:
        parts.append(_profile(report.profile))
    return "\n\n".join(parts) + "\n"


HEAD = """\
# Performance

Written by `make bench` (`python -m bench`); do not edit. This run took {seconds:.0f} s.

Every figure is posts per second: minimum, median and maximum of {repeats} repeats. In each repeat the contenders take
turns on the same servers and the same posts, which wait in the input topics before a run begins. A rate counts the
posts between the moments when {begin:.0%} and when {end:.0%} of them were done, for every contender alike: starting up
and the last batches, which are not full, are left out, and so is what is done and waits for an older post.

- Done is, for whatever writes to Kafka, the timestamp of the record in the output topic; for bare Triton, the answer at
  the client.
- "Until counted in Redis" runs from the first of these moments in the output topic to the second in Redis's totals.
- A ratio is taken within each repeat, against the row that says "reference"."""


def _machine(report: Report) -> str:
    rows = [*report.machine.items(), ("model", report.model)]
    return "\n".join(["| measured on | |", "|---|---|", *(f"| {name} | {value} |" for name, value in rows)])


def _real(figures: RealFigures) -> str:
    rows = real_rows(figures)
    return f"""\
## The real model

{figures.posts} posts of `samples/` (repeated where they do not suffice), four partitions for each of two topics, one
worker (`polyvox run`, default settings), one Triton with the shipped configuration. Bare Triton is a gRPC client that
has all texts tokenized in advance by the worker's own code, sorted by length over the whole run (better than a worker
can, which sees {Settings.model_fields["pool_posts"].default} posts ahead), and does nothing with the answers.
Its batches hold a fixed number of windows; the worker's hold up to {Settings.model_fields["batch_posts"].default} of
them and {Settings.model_fields["batch_tokens"].default} tokens, which suits short and long texts alike, and can so make
up for what the rest of the path costs.

{_table(rows)}

The worker reaches {_median_ratio(rows["path_published"])} of the best bare setting up to `enriched`, and
{_median_ratio(rows["path_applied"])} with the aggregates. A first look over the grid, one short run each, chose the
settings of bare Triton above:

{_grid(figures)}"""


def _grid(figures: RealFigures) -> str:
    sizes = sorted({each.batch for each in figures.grid})
    lines = [
        "| in flight | " + " | ".join(f"batches of {size}" for size in sizes) + " |",
        "|---|" + "---:|" * len(sizes),
    ]
    for in_flight in sorted({each.in_flight for each in figures.grid}):
        rates = (figures.grid.get(Setting(size, in_flight)) for size in sizes)
        lines.append(f"| {in_flight} | " + " | ".join(f"{rate:.0f}" if rate else "" for rate in rates) + " |")
    return "\n".join(lines)


def _null(figures: NullFigures) -> str:
    rows = null_rows(figures)
    options = ", ".join(f"`{name}={value}`" for name, value in FAST_MODEL.items())
    return f"""\
## A model that costs nothing

{figures.posts} posts, {COPIED_FACTOR} times as many for the bare loops. The null model answers at once, in the same
Triton through the same protocol, so this is the cost of everything else: decoding, language identification, tokenizing,
batching, the gRPC round trip with full logits, labels and spans, encoding, publishing, and the aggregates. The bare
loops copy the bytes they read, a quarter of an enriched post. The worker runs with the largest batches that the model
takes, instead of the defaults for a slow model on a CPU: {options}.

{_table(rows)}"""


def _profile(profile: Profile) -> str:
    if profile.problem:
        return f"## Where the worker's time goes\n\nNo profile was taken: {profile.problem}."
    most = ", ".join(f"{name} ({share:.0%})" for name, share in profile.areas[:3])
    return f"""\
## Where the worker's time goes

The whole path with the null model under py-spy, {SECONDS} s after a tenth of the posts. Threads that wait for work are
left out; waiting for the interpreter's lock or for a system call counts. Most goes to: {most}.

{_shares("where the innermost known frame lies", profile.areas)}

{_shares("thread", profile.threads)}

{_shares("function of ours, with what it calls", profile.functions)}"""


def _table(rows: Mapping[str, Row]) -> str:
    lines = ["| | min | median | max | ratio (min to max) |", "|---|---:|---:|---:|---:|"]
    for row in rows.values():
        rate = " | ".join(f"{value:,.0f}" for value in (row.rate.minimum, row.rate.median, row.rate.maximum))
        lines.append(f"| {row.name} | {rate} | {_ratio(row.ratio)} |")
    return "\n".join(lines)


def _ratio(ratio: Spread | None) -> str:
    if ratio is None or ratio.minimum == ratio.maximum == 1.0:
        return "reference"
    return f"{ratio.median:.2f} ({ratio.minimum:.2f} to {ratio.maximum:.2f})"


def _median_ratio(row: Row) -> str:
    return f"{row.ratio.median:.2f}" if row.ratio else "1"


def _shares(title: str, shares: Sequence[tuple[str, float]]) -> str:
    return "\n".join([f"| {title} | share |", "|---|---:|", *(f"| {name} | {share:.1%} |" for name, share in shares)])


def _rounded(spread: Spread, digits: int) -> dict[str, float]:
    return {name: round(value, digits) for name, value in asdict(spread).items()}
