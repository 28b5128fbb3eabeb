"""What is wanted, beside what was found in the same run. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import TYPE_CHECKING, Any

from bench.measure import Measured
from bench.tables import best, median_ratio

if TYPE_CHECKING:
    from bench.page import Report

Runs = Mapping[str, Sequence[Measured]]
PEERS = ("faststream", "quix", "naive", "naive_base")
"""Python programs that do the same work: read, ask the model, write."""


@dataclass(frozen=True)
class Target:
    """One figure beside what is wanted of it; `found` is None where the contender did not run."""

    name: str
    wanted: float
    at_least: bool
    found: float | None

    @property
    def met(self) -> bool:
        """Whether it is reached; never by what was not measured."""
        if self.found is None:
            return False
        return self.found >= self.wanted if self.at_least else self.found <= self.wanted

    def summary(self) -> dict[str, Any]:
        """For the JSON line."""
        found = None if self.found is None else round(self.found, 4)
        return {"wanted": self.wanted, "at_least": self.at_least, "found": found, "met": self.met}


def targets(report: Report) -> list[Target]:
    """All of them that the parts which ran can answer."""
    found: list[Target] = []
    if report.real is not None:
        found += _real(report.real.runs)
        found.append(Target("tokens sent for each real one", 1.05, False, median(report.real.padded_tokens)))
        found.append(
            Target("seconds from the start to the first enriched post", 3.0, False, median(report.real.start_s))
        )
    if report.null is not None:
        found += _null(report.null.runs)
    if report.live is not None:
        live = report.live
        found.append(Target("p99 at half load / one batch", 3.0, False, live.latency.p99_ms / live.batch_ms))
        found.append(Target("posts lost in a burst", 0, False, live.burst.lost))
    if report.help_s:
        found.append(Target("seconds of `polyvox --help`", 0.3, False, median(report.help_s)))
    return found


def _real(runs: Runs) -> Iterator[Target]:
    for name, other, wanted in (
        ("real model / best bare Triton", best(runs, "bare_triton"), 0.95),
        ("real model / onnxruntime alone", "alone", 0.9),
        ("real model / FastStream", "faststream", 1.3),
        ("real model / Flink as released", "flink", 2.0),
        ("real model / pipelines of BERT base's size", "naive_base", 20.0),
    ):
        found = median_ratio(runs, "path_published", other) if other in runs else None
        yield Target(name, wanted, True, found)
    peers = [median(run.cpu_s for run in runs[name]) for name in PEERS if name in runs]
    if peers:
        ours = median(run.cpu_s for run in runs["path_published"])
        yield Target("worker's CPU / least of the Python rivals'", 1.0, False, ours / min(peers))


def _null(runs: Runs) -> Iterator[Target]:
    for name, other in (("bare Faust", "faust"), ("FastStream that copies", "faststream")):
        yield Target(f"enrich stage with the null model / {name}", 1.0, True, median_ratio(runs, "enrich", other))
    whole = median_ratio(runs, "path_applied", "enrich")
    yield Target("whole path with the null model / enrich stage alone", 0.5, True, whole)
