"""Outcomes of analysed posts counted in Redis by the worker's own store, hour by hour, and read back by its reader."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime

import msgspec
import numpy as np
from numpy.typing import NDArray

from bench.shifts.analysed import Labelled
from bench.store import empty
from worker.alerts.aggregates import AggregateWindows
from worker.alerts.reading import confusions_of
from worker.events import EnrichedPost, SourcePosition
from worker.opinion.cells import WIDTH_S, Cell, Outcome
from worker.opinion.client import Link
from worker.opinion.index.correction import Confusions
from worker.opinion.index.tally import Tally
from worker.opinion.reader import RedisReader
from worker.opinion.shifts.words import Key, Span
from worker.opinion.store import AggregateStore, Consumed
from worker.settings import DAY_S, Settings
from worker.timing import SystemClock

TOPIC, PARTITION = "planted", 0
KEPT_S = 400 * DAY_S
FIRST_AGO_S = 3 * DAY_S
"""The newest hour: older than what is kept by the minute, so that hours are what is counted and read."""
BATCH = 512
EVERY = Key("source_class", ("",))
"""A stretch that is read for any key but an entity holds the posts of all."""


class Counter:
    """Each call counts in an hour of its own, going back in time."""

    def __init__(self, store: AggregateStore, windows: AggregateWindows, confusions: Confusions) -> None:
        self.confusions = confusions
        self._store = store
        self._windows = windows
        self._offset = 0
        now_s = SystemClock().unix_ms() // 1000
        self._hour_s = (now_s - FIRST_AGO_S) // WIDTH_S["hour"] * WIDTH_S["hour"]

    async def count(self, posts: Sequence[Labelled], times: NDArray[np.int64]) -> Mapping[Cell, Tally]:
        """Count each post so many times, as records of their own that repeat nothing; what is then read of the hour."""
        at = datetime.fromtimestamp(self._hour_s + WIDTH_S["hour"] // 2, UTC)
        outcomes = [
            self._outcome(event)
            for event, count in ((_moved(post, at), count) for post, count in zip(posts, times, strict=True) if count)
            for _ in range(count)
        ]
        for start in range(0, len(outcomes), BATCH):
            batch = outcomes[start : start + BATCH]
            first, end = batch[0].position, batch[-1].position.offset + 1
            await self._store.apply(first.shard, Consumed(TOPIC, PARTITION, first.offset or None, end), batch)
        window = await self._windows.stretch(EVERY, Span(self._hour_s, self._hour_s + WIDTH_S["hour"]))
        self._hour_s -= WIDTH_S["hour"]
        return window.posts

    def _outcome(self, event: EnrichedPost) -> Outcome:
        position = SourcePosition(TOPIC, TOPIC, PARTITION, self._offset)
        self._offset += 1
        return Outcome(position=position, kind="analysed", broker_ms=0, event=event)


def _moved(post: Labelled, at: datetime) -> EnrichedPost:
    """At another time; without mentions, which are not looked at."""
    return msgspec.structs.replace(post.event, event_time=at, story=None, entities=[])


@asynccontextmanager
async def counting(settings: Settings) -> AsyncIterator[Counter]:
    """An empty Redis."""
    await empty(settings)
    link = Link.of(settings)
    kept = settings.model_copy(update={"retention_hour_s": KEPT_S, "retention_day_s": KEPT_S})
    store = AggregateStore(link, kept)
    try:
        yield Counter(store, AggregateWindows(RedisReader(link), kept, SystemClock()), confusions_of(settings))
    finally:
        await store.aclose()
