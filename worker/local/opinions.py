"""What the aggregates and alerts say after a replay."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from worker.alert_event import Alert
from worker.alerts.aggregates import AggregateWindows
from worker.alerts.leader import epoch_of
from worker.alerts.reading import confusions_of
from worker.alerts.redis_store import RedisAlertStore
from worker.local.outcomes import Outcomes
from worker.opinion.answers import Totals, Window
from worker.opinion.cells import Cell, Measures
from worker.opinion.client import Link
from worker.opinion.index.index import index
from worker.opinion.index.point import IndexPoint
from worker.opinion.index.standard import Standard
from worker.opinion.index.tally import Tally
from worker.opinion.queries import Asked, Mover, Queries
from worker.opinion.reader import RedisReader
from worker.settings import Settings
from worker.timing import SystemClock

TOP_ENTITIES = 10
TOP_MOVERS = 6
ALERTS = 10
SECOND = timedelta(seconds=1)


@dataclass(frozen=True)
class Opinions:
    """What is displayed.

    Args:
        index: corrected sentiment by language, with intervals, each story once; most posts first.
        movers: topics before and after the planted shift.
        alerts: newest first.
    """

    totals: Totals
    by_topic: Mapping[str, Measures] = field(default_factory=dict)
    top_entities: Sequence[tuple[str, Measures]] = ()
    index: Mapping[str, IndexPoint] = field(default_factory=dict)
    by_language: Mapping[str, Measures] = field(default_factory=dict)
    movers: Sequence[Mover] = ()
    alerts: Sequence[Alert] = ()


@asynccontextmanager
async def _link(settings: Settings) -> AsyncIterator[Link]:
    link = Link.of(settings)
    try:
        yield link
    finally:
        await link.aclose()


async def received(settings: Settings) -> int:
    """Records that are counted."""
    async with _link(settings) as link:
        return (await Queries(RedisReader(link), settings).totals()).received


async def windows_are_read(settings: Settings) -> bool:
    """Whether the leader has read every window that has settled, and delivered what it raised."""
    async with _link(settings) as link:
        windows = AggregateWindows(RedisReader(link), settings, SystemClock())
        store = RedisAlertStore(link, settings)
        until_s, first_s = await windows.settled_until_s(()), await windows.first_s()
        if until_s is None or first_s is None:
            return True
        next_s = (await store.progress(epoch_of(settings))).next_s
        begin_s = first_s // settings.alert_window_s * settings.alert_window_s if next_s is None else next_s
        read = begin_s + settings.alert_window_s + settings.alert_settling_s > until_s
        return read and not await store.due(1)


async def opinions(settings: Settings, outcomes: Outcomes, planted_at: datetime | None) -> Opinions:
    """Read the aggregates of the days that the posts lie in."""
    async with _link(settings) as link:
        queries = Queries(RedisReader(link), settings)
        if outcomes.first_event is None or outcomes.last_event is None:
            return Opinions(await queries.totals())
        end = outcomes.last_event + SECOND
        window = Window("day", outcomes.first_event, end)
        entities = await queries.top_entities(window, TOP_ENTITIES)
        by_language = await queries.breakdown(window, ("language",))
        by_topic = await queries.breakdown(window, ("topic",))
        movers: Sequence[Mover] = ()
        if planted_at is not None:
            before = Window("five_minutes", outcomes.first_event, planted_at)
            after = Window("five_minutes", planted_at, end)
            movers = (await queries.top_movers(before, after, Asked("topic"), TOP_MOVERS)).movers
        return Opinions(
            totals=await queries.totals(),
            by_topic={topic: found for (topic,), found in by_topic.items()},
            top_entities=[(entity.form, entity.measures) for entity in entities.entities],
            index=await _index(queries, settings, window),
            by_language={language: found for (language,), found in by_language.items()},
            movers=movers,
            alerts=await RedisAlertStore(link, settings).history(ALERTS),
        )


async def _index(queries: Queries, settings: Settings, window: Window) -> dict[str, IndexPoint]:
    """The index of each language over a window, with the mix that it had there."""
    by_language: dict[str, dict[Cell, Tally]] = {}
    for tallied in await queries.tallies(window):
        for cell, tally in tallied.cells.items():
            cells = by_language.setdefault(cell.language, {})
            cells[cell] = cells.get(cell, Tally()).plus(tally)
    confusions = confusions_of(settings)
    found = {language: index(cells, Standard.of(cells), confusions) for language, cells in by_language.items()}
    points = [(language, point) for language, point in found.items() if point is not None]
    return dict(sorted(points, key=lambda each: (-each[1].posts, each[0])))
