"""The report of a run as a page of docs/."""

from __future__ import annotations

import platform
from collections.abc import Sequence
from datetime import UTC, datetime

from tests.fault.mutants import Planted
from tests.fault.row import Result

HEAD = """# Fault report

Written by `make fault`; do not edit. Real processes and signals, Apache Kafka 4.1 in KRaft mode, Redis, and Triton with
the null model. Each row ends in `polyvox verify`'s audit.

"""


def page(results: Sequence[Result], share: float, planted: Sequence[Planted] = ()) -> str:
    """Markdown: how it ran, one table row each, what did not hold, and what became of planted bugs."""
    seeds = sorted({result.seed for result in results})
    minutes = sum(result.seconds for result in results) / 60
    ran = (
        f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC, {minutes:.0f} minutes, seed {', '.join(map(str, seeds))}, "
        f"share {share:g} of the repeats, {platform.machine()}, Python {platform.python_version()}.\n\n"
    )
    table = (
        "| row | fault | holds | repeats | lost | double-counted | duplicates | worst recovery, s | further | took, s "
        "|\n"
        "|---|---|---|---|---|---|---|---|---|---|\n"
    )
    broken = [f"- row {result.number}: {result.broken}\n" for result in results if result.broken]
    lines = "".join(map(_row, results))
    failed = "\n## Does not hold\n\n" + "".join(broken) if broken else ""
    return HEAD + ran + table + lines + failed + (_bugs(planted) if planted else "")


def _bugs(planted: Sequence[Planted]) -> str:
    head = (
        "\n## Planted bugs\n\nOne place of the worker changed; the row must fail, for the right reason.\n\n"
        "| bug | row | found | what the row says |\n|---|---|---|---|\n"
    )
    return head + "".join(
        f"| {each.name} | {each.row} | {'yes' if each.found else 'no'} | {each.said.replace('|', '/')} |\n"
        for each in planted
    )


def _row(result: Result) -> str:
    found = result.figures
    notes = ", ".join(f"{name} {value}" for name, value in found.notes.items())
    cells = (
        result.number,
        result.fault,
        "no" if result.broken else "yes",
        f"{found.repeats} of {result.full_repeats}",
        found.lost,
        found.double_counted,
        found.duplicates,
        f"{found.worst_recovery_s:.1f}",
        notes,
        f"{result.seconds:.0f}",
    )
    return "| " + " | ".join(map(str, cells)) + " |\n"
