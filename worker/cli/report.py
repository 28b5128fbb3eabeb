"""The demo's summary for people."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from rich.console import Console
from rich.table import Table
from rich.text import Text

from worker.cli.alert_page import estimate, page
from worker.cli.console import printable
from worker.local.opinions import Opinions
from worker.local.report import Report
from worker.opinion.cells import Measures
from worker.opinion.queries import Mover

BAR_CHARS = 30
TOPICS_SHOWN = 12
LANGUAGES_SHOWN = 40
GLYPHS = (("negative", "red", "▒"), ("neutral", "bright_black", "░"), ("positive", "green", "█"))
"""Each label has its own glyph too: colours do not reach a file, or everybody's eyes."""


def show(report: Report, console: Console) -> None:
    """Print the summary: what was counted, what people think and what moved, how fast."""
    opinions = report.opinions
    console.print()
    console.print(_heading("sentiment by language", _legend()))
    console.print(Text("  right: the index, corrected for the model's errors, with its 95 % interval", "bright_black"))
    console.print(_by_language(opinions))
    console.print(_heading("sentiment by topic", _legend()))
    console.print(_by_topic(opinions.by_topic, TOPICS_SHOWN))
    console.print(
        _heading("top entities", Text("mentions, and the net sentiment of the posts they stand in", "bright_black"))
    )
    console.print(_entities(opinions.top_entities))
    show_shifts(report, console)
    console.print(_heading("dead letters and flags", Text("")))
    console.print(_counts(report))
    console.print(_heading("speed", Text(report.model, "bright_black")))
    console.print(_speed(report))
    console.print()
    late = opinions.totals.too_late.get("day", 0)
    if late:
        console.print(f"{late} posts are older than the retention of days and in no table above", style="yellow")


def _heading(title: str, remark: Text) -> Text:
    return Text.assemble("\n", (title, "bold"), "  ", remark)


def _legend() -> Text:
    return Text("  ").join([Text(f"{glyph} {label}", style) for label, style, glyph in GLYPHS])


def _by_language(opinions: Opinions) -> Table:
    table = Table(box=None, show_header=False, pad_edge=False, padding=(0, 2, 0, 2))
    table.add_column(min_width=10)
    table.add_column(justify="right")
    for language, measures in list(opinions.by_language.items())[:LANGUAGES_SHOWN]:
        point = opinions.index.get(language)
        shown = Text("") if point is None else estimate(point.net)
        table.add_row(printable(language, 40), str(measures.analysed), share_bar(measures), shown)
    return table


def _by_topic(groups: Mapping[str, Measures], limit: int) -> Table:
    table = Table(box=None, show_header=False, pad_edge=False, padding=(0, 2, 0, 2))
    table.add_column(min_width=10)
    table.add_column(justify="right")
    for name, measures in list(groups.items())[:limit]:
        table.add_row(printable(name, 40), str(measures.analysed), share_bar(measures), _net(measures))
    return table


def show_shifts(report: Report, console: Console) -> None:
    """Print what moved, and the alert that says so."""
    opinions, at = report.opinions, report.planted_at
    if at is not None:
        since = Text(f"topics since {at:%H:%M} UTC, when the planted bad news begins", "bright_black")
        console.print(_heading("top movers", since))
        console.print(_movers(opinions.movers, report.topic_names))
    remark = Text("planted: real posts, moved in time" if at is not None else "", "bright_black")
    console.print(_heading("alerts", remark))
    for alert in opinions.alerts:
        console.print(page(alert, report.topic_names))
    if not opinions.alerts:
        console.print(Text("  none", "bright_black"))


def _movers(movers: Sequence[Mover], names: Mapping[str, str]) -> Table:
    table = Table(box=None, show_header=False, pad_edge=False, padding=(0, 2, 0, 2))
    for mover in movers:
        nets = Text.assemble(_net(mover.before), "  to  ", _net(mover.after))
        posts = f"{mover.before.analysed} then {mover.after.analysed} posts"
        beyond = f"sentiment {mover.sentiment_z:+.1f} σ, volume {mover.volume_z:+.1f} σ"
        table.add_row(printable(names.get(mover.key, mover.key), 40), nets, posts, Text(beyond, "bright_black"))
    return table


def share_bar(measures: Measures) -> Text:
    """The three labels' shares as one bar of `BAR_CHARS`; empty without labels."""
    bar, drawn, counted = Text(), 0, 0
    for label, style, glyph in GLYPHS:
        counted += getattr(measures, label)
        upto = round(BAR_CHARS * counted / measures.labelled) if measures.labelled else 0
        bar.append(glyph * (upto - drawn), style)
        drawn = upto
    return bar


def _net(measures: Measures) -> Text:
    net = measures.net_sentiment
    return Text("") if net is None else Text(f"{net:+.2f}", "green" if net > 0 else "red" if net < 0 else "")


def _entities(entities: Sequence[tuple[str, Measures]]) -> Table:
    table = Table(box=None, show_header=False, pad_edge=False, padding=(0, 2, 0, 2))
    for form, measures in entities:
        table.add_row(printable(form, 40), str(measures.analysed), _net(measures))
    return table


def _counts(report: Report) -> Table:
    table = Table(box=None, show_header=False, pad_edge=False, padding=(0, 2, 0, 2))
    for reason, count in report.dead_letter_reasons.items():
        table.add_row("dead letter", Text(reason, "red"), str(count))
    for flag, count in report.flags.items():
        table.add_row("flag", Text(flag, "yellow"), str(count))
    if report.tombstones:
        table.add_row("tombstone", "a record without a value", str(report.tombstones))
    return table


def _speed(report: Report) -> Table:
    table = Table(box=None, show_header=False, pad_edge=False, padding=(0, 2, 0, 2))
    table.add_row(
        "records",
        f"{report.produced} produced = {report.analysed} analysed + {report.dead_lettered} dead-lettered, "
        f"in {len(report.languages)} languages",
    )
    table.add_row("throughput", f"{report.events_per_s:.0f} records/s over {report.seconds:.1f} s")
    table.add_row("produce to enriched", _latencies(report.enriched_ms))
    table.add_row("produce to aggregate", _latencies(report.aggregated_ms))
    return table


def _latencies(quantiles_ms: Mapping[str, float]) -> str:
    return "  ".join(f"{name} {value / 1000:.2f} s" for name, value in quantiles_ms.items())
