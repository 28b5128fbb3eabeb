"""`polyvox status`: ask every server one question, and say what is wrong."""

from __future__ import annotations

import http.client
from collections import Counter
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Annotated, Any

import typer

from worker.cli.configured import settings
from worker.cli.console import Exit, examples, json_line, out, run_async
from worker.errors import PolyvoxError

if TYPE_CHECKING:
    from rich.table import Table

    from worker.settings import Settings

ANSWER_S = 2.0
"""How long a server may take to answer."""

NOT_HERE = "none at this address"
"""A worker that runs on another machine is no problem."""


@dataclass(frozen=True)
class Check:
    """What one server said: `problem` is None when all is well; `facts` are for `--json`."""

    name: str
    where: str
    said: str
    problem: str | None = None
    facts: dict[str, Any] = field(default_factory=dict)


def add_to(app: typer.Typer) -> None:
    """Register the command."""
    app.command(
        epilog=examples(
            "polyvox status",
            "polyvox status --json | jq .kafka.facts.lag",
            after="Exit codes: 0 everything answers, 1 something does not, 2 wrong usage or settings.",
        )
    )(status)


def status(as_json: Annotated[bool, typer.Option("--json", help="one JSON object")] = False) -> None:
    """Show servers, model version, lag and dead letters."""
    configured = settings()
    checks = [_checked(check, configured) for check in (_kafka, _triton, _redis, _worker)]
    if as_json:
        json_line({check.name: asdict(check) for check in checks})
    else:
        out().print(_table(checks))
    raise typer.Exit(Exit.PROBLEM if any(check.problem for check in checks) else Exit.FINE)


def _checked(check: Callable[[Settings], Check], configured: Settings) -> Check:
    """An error is what the server said."""
    try:
        return check(configured)
    except PolyvoxError as error:
        name = check.__name__.removeprefix("_")
        return Check(name, _WHERE[name](configured), "does not work", str(error))


def _kafka(configured: Settings) -> Check:
    from worker.feeds.lag import lag, stage_topics

    found = lag(configured)
    records: Counter[str] = Counter(dict.fromkeys(stage_topics(configured), 0))
    for entry in found:
        records[entry.stage] += entry.records
    letters = sum(entry.end - entry.begin for entry in found if entry.topic == configured.dead_letters_topic)
    missing = {topic for topics in stage_topics(configured).values() for topic in topics} - {
        entry.topic for entry in found
    }
    said = ", ".join(f"{stage} is {count} records behind" for stage, count in records.items())
    return Check(
        "kafka",
        configured.kafka_brokers,
        f"{said}; {letters} dead letters in '{configured.dead_letters_topic}'",
        f"no topic {', '.join(sorted(missing))} yet: the worker makes them at its start" if missing else None,
        {"lag": dict(records), "dead_letters": letters, "partitions": [asdict(e) | {"lag": e.records} for e in found]},
    )


def _triton(configured: Settings) -> Check:
    from worker.analysis.bundle import Bundle
    from worker.analysis.choice import make_inference

    bundle = Bundle.load(configured.bundle_dir)
    limited = configured.model_copy(update={"triton_timeout_s": ANSWER_S})

    async def ask() -> None:
        inference = make_inference(limited, bundle)
        try:
            await inference.check()
        finally:
            await inference.aclose()

    run_async(ask())
    return Check(
        "triton",
        _WHERE["triton"](configured),
        f"model {bundle.model.version}, {len(bundle.topics)} topics",
        facts={"model": bundle.model.version, "languages": list(bundle.manifest.languages)},
    )


def _redis(configured: Settings) -> Check:
    from worker.opinion.client import Link
    from worker.opinion.queries import Queries
    from worker.opinion.reader import RedisReader

    async def ask() -> tuple[list[str], dict[str, Any]]:
        link = Link.of(configured)
        try:
            warnings = await link.check()
            return warnings, asdict(await Queries(RedisReader(link), configured).totals())
        finally:
            await link.aclose()

    warnings, totals = run_async(ask())
    reasons = ", ".join(f"{count} {reason}" for reason, count in totals["dead_letter_reasons"].items())
    said = f"{totals['analysed']} analysed, {totals['dead_lettered']} dead letters" + (
        f" ({reasons})" if reasons else ""
    )
    return Check(
        "redis", _WHERE["redis"](configured), "; ".join([said, *warnings]), facts=totals | {"warnings": warnings}
    )


def _worker(configured: Settings) -> Check:
    """The worker on this machine; one that runs elsewhere is no problem."""
    connection = http.client.HTTPConnection(configured.health_host, configured.health_port or 1, timeout=ANSWER_S)
    where = _WHERE["worker"](configured)
    try:
        connection.request("GET", "/ready")
        answer = connection.getresponse()
        said = answer.read(200).decode("utf-8", "replace").strip()
    except (OSError, http.client.HTTPException):
        return Check("worker", where, NOT_HERE)
    finally:
        connection.close()
    return Check("worker", where, said, None if answer.status == http.HTTPStatus.OK else said)


def _redis_where(configured: Settings) -> str:
    from worker.opinion.client import Link

    return str(Link.of(configured).address)


_WHERE: dict[str, Callable[[Settings], str]] = {
    "kafka": lambda configured: configured.kafka_brokers,
    "triton": lambda configured: "in process" if configured.inference == "embedded" else configured.triton_url,
    "redis": _redis_where,
    "worker": lambda configured: f"{configured.health_host}:{configured.health_port}",
}


def _table(checks: list[Check]) -> Table:
    from rich.table import Table
    from rich.text import Text

    table = Table("", "server", "where", "", box=None, pad_edge=False)
    for check in checks:
        mark = Text("✗", "red") if check.problem else Text("-" if check.said == NOT_HERE else "✓", "green")
        said = Text(check.problem or check.said, "red" if check.problem else "")
        table.add_row(mark, check.name, check.where, said)
    return table
