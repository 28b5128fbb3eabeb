"""One alert for people."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from worker.alert_event import Alert, Contrast, Estimate
from worker.cli.console import printable
from worker.opinion.index import point

BAR_CHARS = 24
CONTRASTS_SHOWN = 6


def page(alert: Alert, topics: Mapping[str, str] | None = None) -> RenderableType:
    """What shifted, since when, why, and how sure that is; `topics` names those whose ids it knows."""
    names = topics or {}
    table = Table(box=None, show_header=False, pad_edge=False, padding=(0, 2, 0, 2))
    table.add_row("index", Text.assemble(estimate(alert.before), "  to  ", estimate(alert.after)))
    table.add_row("window", f"{_time(alert.window_start)} to {_time(alert.window_end)} UTC, since {_time(alert.since)}")
    table.add_row("moved", causes(alert))
    for kind in ("term", "entity", "topic"):
        if found := [each for each in alert.contrasts if each.kind == kind]:
            table.add_row(f"{kind}s" if kind != "entity" else "entities", contrasts(found, names))
    if alert.examples:
        table.add_row("posts", Text(", ".join(printable(each, 40) for each in alert.examples)))
    if alert.related:
        table.add_row("related", Text(", ".join(printable(key.name, 40) for key in alert.related)))
    table.add_row("sure", _evidence(alert))
    if alert.annotations:
        table.add_row("note", Text(", ".join(alert.annotations), "yellow"))
    table.add_row("model", Text(", ".join(alert.model_versions), "bright_black"))
    title = Text.assemble(
        ("▼ " if alert.direction == "down" else "▲ ", "red" if alert.direction == "down" else "green"),
        (printable(alert.key.name, 80), "bold"),
        ("  " + alert.alert_id, "bright_black"),
    )
    return Group(title, table)


def estimate(found: Estimate | point.Estimate) -> Text:
    """A value with its 95 % interval."""
    return Text.assemble(in_style(found.value), (f" [{found.low:+.2f}, {found.high:+.2f}]", "bright_black"))


def in_style(value: float) -> Text:
    """A signed number in the colour of its sign."""
    return Text(f"{value:+.2f}", "green" if value > 0 else "red" if value < 0 else "")


def causes(alert: Alert) -> Table:
    """The decomposition, largest cause first, each with a bar."""
    table = Table(box=None, show_header=False, pad_edge=False, padding=(0, 2, 0, 0))
    largest = max((abs(value) for _, value in alert.contributions.ranked()), default=0.0) or 1.0
    for name, value in alert.contributions.ranked():
        bar = ("█" if value > 0 else "▒") * round(BAR_CHARS * abs(value) / largest)
        table.add_row(name.replace("_", " "), in_style(value), Text(bar, "green" if value > 0 else "red"))
    table.add_row("in all", in_style(alert.moved), "")
    return table


def contrasts(found: Sequence[Contrast], names: Mapping[str, str]) -> Text:
    """Words with how often they were found before and after."""
    shown = [
        f"{printable(names.get(each.name, each.name), 40)} {each.before}→{each.after}"
        for each in found[:CONTRASTS_SHOWN]
    ]
    return Text(", ".join(shown))


def _evidence(alert: Alert) -> str:
    evidence, complete = alert.evidence, alert.completeness
    return (
        f"by chance {evidence.false_per_day:.1g} times a day in one such key; {evidence.keys} keys are watched for "
        f"{evidence.false_alerts_per_day:g} false alerts a day; {evidence.posts:.0f} posts since, "
        f"{complete.share:.1%} of {complete.received} analysed"
    )


def _time(at: datetime) -> str:
    return f"{at.astimezone(UTC):%m-%d %H:%M}"
