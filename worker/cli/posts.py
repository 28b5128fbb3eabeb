"""`polyvox produce` and `polyvox tail`."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn

from worker.cli.configured import settings
from worker.cli.console import Exit, err, examples, json_line, out, say

if TYPE_CHECKING:
    from collections.abc import Callable

    from worker.feeds.produce import Produced
    from worker.feeds.records import BadRow, Feed


def add_to(app: typer.Typer) -> None:
    """Register the commands."""
    app.command(
        epilog=examples(
            "polyvox produce posts.jsonl posts.csv",
            "polyvox produce --topic posts.financial headlines.parquet",
            "zcat posts.jsonl.gz | polyvox produce -",
            "polyvox produce --rate 50 --json posts.jsonl",
            after="A post is a JSON object: id, source, published_at (RFC 3339 with an offset) and text; optional are "
            "author, language, url and metadata. Columns of CSV and Parquet have these names; other columns become "
            "metadata. Exit codes: 0 all rows are in the topic, 1 some are not (named with their line), 2 wrong usage.",
        )
    )(produce)
    app.command(
        epilog=examples(
            "polyvox tail enriched",
            "polyvox tail dead-letters --from-beginning",
            "polyvox tail enriched --count 10 --json | jq .sentiment.label",
            after="Reads without a consumer group: it moves no offset and disturbs no worker. Ctrl-C ends it with 0.",
        )
    )(tail)


def produce(
    files: Annotated[list[str], typer.Argument(help="JSONL, CSV or Parquet; - reads JSON lines from standard input")],
    topic: Annotated[
        str | None, typer.Option(help="where to; the first input topic of the settings by default")
    ] = None,
    raw: Annotated[
        bool, typer.Option("--raw", help="send the lines of JSONL files unchecked; null is a tombstone")
    ] = False,
    rate: Annotated[float | None, typer.Option(min=0.001, help="posts a second, at most")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="the counts as one JSON object on standard output")] = False,
) -> None:
    """Send posts from files to Kafka, each delivery confirmed."""
    from worker.feeds import produce as feeds
    from worker.feeds.records import format_of, open_feed

    configured = settings()
    target = topic or next(iter(configured.input_topics))
    if target not in configured.input_topics:
        say(f"polyvox: no worker with these settings reads '{target}' (POLYVOX_INPUT_TOPICS)", style="yellow")
    for path in files:
        format_of(path)
    pace = feeds.unpaced if rate is None else feeds.rate(rate)
    total, started_s = feeds.Produced(), time.monotonic()
    for path in files:
        with open_feed(path, check="raw" if raw else "posts") as feed, _bar(feed) as progress:
            watch = feeds.Watch(progress, _problem_printer(feed.name), pace)
            counts = feeds.produce(configured, target, feed.rows, watch)
        total += counts
        say(f"{feed.name} to {target}: {_in_words(counts)}")
        if counts.stopped_at_line is not None:
            say(
                f"polyvox: stopped at line {counts.stopped_at_line}: Kafka is in trouble; go on there when it is well",
                "red",
            )
            break
    if as_json:
        json_line({"topic": target, "seconds": round(time.monotonic() - started_s, 3), **asdict(total)})
    raise typer.Exit(Exit.FINE if total.complete else Exit.PROBLEM)


def _in_words(counts: Produced) -> str:
    tombstones = f" ({counts.tombstones} of them tombstones)" if counts.tombstones else ""
    return f"{counts.sent} sent{tombstones}, {counts.bad} bad rows, {counts.failed} not delivered"


@contextmanager
def _bar(feed: Feed) -> Iterator[Callable[[Produced], None]]:
    """A progress bar on a terminal's standard error, nothing elsewhere; after Ctrl-C what was confirmed until then."""
    from worker.feeds.produce import MAX_UNCONFIRMED

    console, confirmed = err(), 0
    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TextColumn("{task.fields[counts]}"))
    try:
        with Progress(*columns, TimeRemainingColumn(), console=console, disable=not console.is_terminal) as bar:
            task = bar.add_task(feed.name, total=feed.size_bytes, counts="")

            def show(counts: Produced) -> None:
                nonlocal confirmed
                confirmed = counts.sent
                if not bar.disable:
                    bar.update(task, completed=feed.bytes_read(), counts=f"{counts.sent} sent, {counts.bad} bad")

            yield show
    except KeyboardInterrupt:
        say(f"{feed.name}: interrupted; {confirmed} were confirmed, up to {MAX_UNCONFIRMED} more may have arrived")
        raise


def _problem_printer(name: str) -> Callable[[BadRow], None]:
    def show(row: BadRow) -> None:
        say(f"{name}:{row.line}: {row.reason}: {row.detail}", style="yellow")

    return show


def tail(
    topic: Annotated[str, typer.Argument(help="enriched, dead-letters, an input topic, or any other")],
    from_beginning: Annotated[bool, typer.Option("--from-beginning", help="also what is there already")] = False,
    count: Annotated[int | None, typer.Option("--count", "-n", min=1, help="end after so many records")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="one JSON object a line")] = False,
) -> None:
    """Show the records of a topic as they come."""
    from worker.cli.records import as_line, as_object
    from worker.feeds.tail import tail as records

    console = out()
    try:
        for record in records(settings(), topic, "beginning" if from_beginning else "end", count):
            if as_json:
                json_line(as_object(record))
            else:
                console.print(as_line(record), soft_wrap=not console.is_terminal)
    except KeyboardInterrupt:
        raise typer.Exit(Exit.FINE) from None
