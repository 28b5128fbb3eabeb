"""What the leader reads: when a window is settled, what is in it, and what was in longer stretches before it."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Protocol

from worker.alert_event import WindowCompleteness
from worker.alerts.keys import Tallies, keys_of
from worker.opinion.cells import Cell
from worker.opinion.index.tally import Tally
from worker.opinion.shifts.words import Key, Span

IDLE_MS = 120_000
"""A partition without outcomes for so long does not hold the watermark back, unless records wait in it."""


@dataclass(frozen=True, kw_only=True)
class WindowRead:
    """Everything that is known of one settled window; it is read once.

    Args:
        posts: each story once, of all keys.
        entities: the mentions of each entity that is watched.
        outage: some part of the path was down while it was filled.
    """

    span: Span
    posts: Tallies
    entities: Mapping[str, Tallies]
    completeness: WindowCompleteness
    outage: bool = False


def tallies_of(key: Key, window: WindowRead) -> dict[Cell, Tally]:
    """The posts of one key."""
    if key.kind == "entity":
        return dict(window.entities.get(key.values[0], {}))
    return {cell: tally for cell, tally in window.posts.items() if key in keys_of(cell)}


class Windows(Protocol):
    """Reads the aggregates. All methods raise `StoreUnavailable` or `ConfigInvalid`."""

    async def settled_until_s(self, waiting: Collection[str]) -> int | None:
        """The event time up to which nothing is expected any more, Unix seconds; None while that is not known.

        Args:
            waiting: the shards in which records wait to be analysed or counted.
        """
        ...

    async def first_s(self) -> int | None:
        """The first second of the oldest window that is kept; None without posts."""
        ...

    async def read(self, span: Span) -> WindowRead:
        """Everything of one window."""
        ...

    async def stretch(self, key: Key, span: Span) -> WindowRead:
        """The posts of one key in a longer stretch; other keys may be left out."""
        ...


def watermark_ms(totals: Mapping[str, Mapping[str, int]], waiting: Collection[str], now_ms: int) -> int | None:
    """The event time that every partition has reached, as far as it may still say something.

    As `Queries.watermark_ms`, but records that wait count: while a server is away nothing is applied, and every
    partition looks idle although its posts are still to come.

    Args:
        totals: the counters of each shard, by name.
        waiting: shards in which records wait.
        now_ms: the present, Unix milliseconds.

    Returns:
        None without any event, or while records wait in a shard of which nothing was counted yet.
    """
    newest = {shard: found["newest_event_ms"] for shard, found in totals.items() if "newest_event_ms" in found}
    if not newest or any(shard not in newest for shard in waiting):
        return None
    busy = [
        event_ms
        for shard, event_ms in newest.items()
        if shard in waiting or now_ms - totals[shard].get("applied_ms", 0) <= IDLE_MS
    ]
    return min(busy) if busy else max(newest.values())
