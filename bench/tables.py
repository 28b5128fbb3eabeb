"""Contenders as rows: posts per second, ratio to a reference, processor time; as Markdown and for the JSON line."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from statistics import median
from typing import Any

from bench.measure import Measured, Spread, ratios


@dataclass(frozen=True)
class Row:
    """A contender.

    Attributes:
        ratio: to the reference of its table, repeat by repeat; None for the reference.
        cpu_s: its own processor seconds for 1,000 posts; `triton_cpu_s` those of Triton meanwhile.
    """

    name: str
    posts_per_s: Spread
    ratio: Spread | None
    cpu_s: Spread
    triton_cpu_s: Spread

    def summary(self) -> dict[str, Any]:
        """For the JSON line."""
        found = {
            "posts_per_s": rounded(self.posts_per_s, 1),
            "cpu_s_per_1000": rounded(self.cpu_s, 4),
            "triton_cpu_s_per_1000": rounded(self.triton_cpu_s, 4),
        }
        return found if self.ratio is None else found | {"ratio": rounded(self.ratio, 3)}


def rate_of(runs: Sequence[Measured]) -> list[float]:
    """Posts per second of each repeat."""
    return [run.posts_per_s for run in runs]


def rows(names: Mapping[str, str], runs: Mapping[str, Sequence[Measured]], reference: str) -> dict[str, Row]:
    """A row for each contender that ran, in the order of `names`."""
    return {
        name: Row(
            title,
            Spread.of(rate_of(runs[name])),
            None if name == reference else ratios(rate_of(runs[name]), rate_of(runs[reference])),
            Spread.of([run.cpu_s for run in runs[name]]),
            Spread.of([run.triton_cpu_s for run in runs[name]]),
        )
        for name, title in names.items()
        if name in runs
    }


def table(of: Mapping[str, Row], triton: bool = True) -> str:
    """Markdown; the processor time is the median. `triton` adds that of Triton."""
    lines = [
        "| | min | median | max | ratio (min to max) | CPU s / 1,000 posts |" + (" Triton's |" if triton else ""),
        "|---|---:|---:|---:|---:|---:|" + ("---:|" if triton else ""),
    ]
    for row in of.values():
        spread = (row.posts_per_s.minimum, row.posts_per_s.median, row.posts_per_s.maximum)
        digits = 0 if row.posts_per_s.median >= 100 else 1
        cells = [row.name, *(f"{value:,.{digits}f}" for value in spread), _ratio(row.ratio), _cpu(row.cpu_s)]
        cells += [_cpu(row.triton_cpu_s)] if triton else []
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def markdown(head: Sequence[object], rows: Sequence[Sequence[object]]) -> str:
    """A table whose first column is words and whose others are numbers."""
    lines = ["| " + " | ".join(map(str, head)) + " |", "|---" + "|--:" * (len(head) - 1) + "|"]
    return "\n".join(lines + ["| " + " | ".join(map(str, row)) + " |" for row in rows])


def best(runs: Mapping[str, Sequence[Measured]], prefix: str) -> str:
    """The name with the best median rate among those that begin so."""
    return max((name for name in runs if name.startswith(prefix)), key=lambda name: median(rate_of(runs[name])))


def median_ratio(runs: Mapping[str, Sequence[Measured]], one: str, other: str) -> float:
    """The median of the ratio of two contenders' rates, repeat by repeat."""
    return ratios(rate_of(runs[one]), rate_of(runs[other])).median


def rounded(spread: Spread, digits: int) -> dict[str, float]:
    """A spread for the JSON line."""
    return {name: round(value, digits) for name, value in asdict(spread).items()}


def _ratio(ratio: Spread | None) -> str:
    if ratio is None:
        return "reference"
    return f"{ratio.median:.2f} ({ratio.minimum:.2f} to {ratio.maximum:.2f})"


def _cpu(spread: Spread) -> str:
    return f"{spread.median:.3f}" if spread.median < 1 else f"{spread.median:.2f}"
