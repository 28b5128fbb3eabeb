"""The parts of the alerts, from the settings."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import partial

from worker.alerts.aggregates import AggregateWindows
from worker.alerts.compose import Composer
from worker.alerts.delivery import Outlets
from worker.alerts.leader import LeaderParts
from worker.alerts.reading import confusions_of, limits_of
from worker.alerts.redis_store import RedisAlertStore
from worker.alerts.topic import KafkaAlertTopic
from worker.alerts.watched import Watcher
from worker.alerts.webhook import open_session, webhooks
from worker.feeds.recent import recent_posts
from worker.opinion.client import Link
from worker.opinion.reader import RedisReader
from worker.settings import Settings
from worker.stream.backlog import Outages, waiting_shards
from worker.stream.records import Routes
from worker.stream.shifts import ShiftParts, Shifts
from worker.timing import SystemClock


async def open_shifts(settings: Settings, routes: Routes, away: Callable[[], bool]) -> Shifts:
    """Start the alerts of this process; what they need is connected at its first use.

    Args:
        settings: servers, limits, webhooks.
        routes: which partition holds what.
        away: whether a server is known to be away.

    Raises:
        ConfigInvalid: webhooks that cannot work.
    """
    link, clock = Link.of(settings), SystemClock()
    session = open_session(settings)
    outages = Outages(away, clock)
    windows = AggregateWindows(RedisReader(link), settings, clock)
    watcher = Watcher(await asyncio.to_thread(confusions_of, settings), limits_of(settings))
    recent = partial(recent_posts, settings, settings.alert_contrast_posts)
    store = RedisAlertStore(link, settings, clock)
    leader = LeaderParts(
        store=store,
        windows=windows,
        watcher=watcher,
        compose=Composer(windows, watcher, recent, clock).compose,
        clock=clock,
        waiting=partial(asyncio.to_thread, waiting_shards, settings, routes),
        outage=outages.during,
    )
    outlets = Outlets(store, KafkaAlertTopic(settings), webhooks(settings, session, clock))
    shifts = Shifts(ShiftParts(leader, outlets, outages, (session.close, store.aclose)), settings)
    shifts.start()
    return shifts
