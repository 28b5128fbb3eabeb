"""Redis is changed by hand: `polyvox verify` is silent before, names the field, and is silent once it is mended."""

from __future__ import annotations

from collections.abc import Awaitable
from typing import Any, cast

from tests.fault import store
from tests.fault.line import Line, line
from tests.fault.posts import with_poison
from tests.fault.row import Row, Trial, hold
from worker.opinion.client import Link
from worker.timing import SystemClock
from worker.verify.run import verify

RECORDS = 1500
Field = tuple[str, str]


def run(trial: Trial) -> None:
    """Another kind of field each time: a total, a cell, one that is gone, one too many, a position."""
    with line(trial) as tested:
        tested.start()
        tested.send(with_poison(RECORDS, 0.01, trial.random))
        tested.finish()
        tested.stop()
        tested.audit(trial.figures)
        kinds = list(DAMAGES)
        for number in range(trial.repeats):
            kind = kinds[number % len(kinds)]
            pattern, healthy, broken = DAMAGES[kind]
            key, field, before = _some_field(trial, tested, pattern, healthy)
            _put(tested, (key, field), broken(before))
            report = verify(tested.settings, SystemClock())
            hold(not report.holds, f"{kind}: verify found nothing wrong")
            place = key.removesuffix(":positions")  # of one that was set back, the counters are those of a later one
            named = any(place in finding.where for finding in report.findings)
            hold(named, f"{kind}: verify does not name {place}: {report.findings[:3]}")
            trial.figures.repeats += 1
            _put(tested, (key, field), before)
            tested.audit(trial.figures)
        trial.figures.notes["damages"] = ", ".join(kinds)


def _more(value: str | None) -> str:
    """One more of the first number."""
    first, space, rest = (value or "0").partition(" ")
    return f"{int(first) + 1}{space}{rest}"


DAMAGES = {
    "a total": ("*:totals", "received", _more),
    "a cell": ("*:posts:h:*", "", _more),
    "a cell that is gone": ("*:posts:h:*", "", lambda _: None),
    "a total of nothing": ("*:totals", "dead_lettered:never_heard_of", lambda _: "1"),
    "a position": ("*:positions", "", lambda value: str(int(value or 0) - 1)),
}
"""What is damaged: keys, the field ("" is any), and what it becomes; None is gone."""


def _some_field(trial: Trial, tested: Line, pattern: str, wanted: str) -> tuple[str, str, str | None]:
    """A key and field, and the value there."""

    async def look(link: Link) -> tuple[str, str, str | None]:
        keys = sorted([key async for key in link.redis.scan_iter(f"polyvox:{pattern}")])
        key = trial.random.choice(keys)
        fields = await cast(Awaitable[dict[str, str]], link.redis.hgetall(key))
        field = wanted or trial.random.choice(sorted(name for name in fields if name.isdigit() or ":" in name))
        return key, field, fields.get(field)

    return store.ask(tested.settings, look)


def _put(tested: Line, place: Field, value: str | None) -> None:
    key, field = place

    async def put(link: Link) -> Any:
        return await cast(
            Awaitable[Any], link.redis.hdel(key, field) if value is None else link.redis.hset(key, field, value)
        )

    store.ask(tested.settings, put)


ROW = Row(
    number="verify",
    fault="Redis changed by hand, a field at a time",
    promise="`polyvox verify` is silent before, names the field, and is silent once it is mended",
    repeats=5,
    run=run,
)
