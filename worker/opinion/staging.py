"""A second generation of some days' buckets: counted beside those that queries read, then put in their place at once.

What is staged has keys, a guard and positions of its own, and is written by the script that counts live outcomes. Live
writes do not know of it: a swap happens only while the live positions are those up to which it was counted.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from worker.errors import PositionLost
from worker.events import encode
from worker.opinion import keys
from worker.opinion.applying import Applier
from worker.opinion.cells import DETAILS, MENTION_LEVELS, POST_LEVELS, WIDTH_S, Level
from worker.opinion.client import Link, Script
from worker.opinion.days import Days, Written, counted_anew
from worker.opinion.store import Consumed
from worker.settings import Settings
from worker.timing import Clock

SWAP = Script((Path(__file__).parent / "swap.lua").read_text(encoding="utf-8"))
Swapped = Literal["swapped", "moved"]
Place = tuple[str, int]

_PIECE = 500
"""Keys in one step of dropping, at most."""


class Staging:
    """One replay's second generation, of one partition after another.

    All methods raise `StoreUnavailable` or `ConfigInvalid` as the store does.

    Args:
        link: the connection; closed by its owner.
        settings: retentions and limits.
        days: the buckets to count anew.
        clock: what decides which buckets are kept.
    """

    def __init__(self, link: Link, settings: Settings, days: Days, clock: Clock) -> None:
        self._link = link
        self._days = days
        self._clock = clock
        self._applier = Applier(link, settings)
        self._id = uuid.uuid4().hex[:12]

    async def begin(self, shard: str, start: Mapping[Place, int]) -> None:
        """Make room for a partition; a replay of it that is under way cannot swap any more.

        Args:
            start: of each consumed partition, the first offset that will be counted.
        """
        at: dict[Any, Any] = {keys.position_field(*place): offset for place, offset in start.items()}
        async with self._link.use("beginning a replay") as client, client.pipeline(transaction=True) as pipe:
            pipe.set(keys.replay(shard), self._id)
            pipe.hset(f"{keys.staged(shard, self._id)}:positions", mapping=at)
            await pipe.execute()

    async def apply(self, shard: str, consumed: Consumed, read: Sequence[Written]) -> None:
        """Count a batch, each outcome with exactly-once effect in this generation, and store the position.

        Raises:
            PositionLost: what was staged is gone, wholly or in part: nothing was counted, begin again.
        """
        now_ms, retention = self._clock.unix_ms(), self._applier.retention
        header: dict[str, int | str] = {
            "position_field": keys.position_field(consumed.topic, consumed.partition),
            "expected": -1 if consumed.expected_offset is None else consumed.expected_offset,
            "next": consumed.next_offset,
        }
        counted = [(one.outcome, counted_anew(one, self._days, retention, now_ms)) for one in read]
        reply = await self._applier.call(keys.staged(shard, self._id), header, counted, now_ms)
        if reply[0] == "lost":
            raise _gone(shard)

    async def swap(self, shard: str, positions: Mapping[Place, int], *, whole: bool) -> Swapped:
        """Put what is staged in the place of the partition's buckets, if its positions are these.

        Args:
            positions: all that the store has of the partition; everything before them was counted here.
            whole: whether the logs held every outcome ever; then the totals are replaced too.

        Returns:
            `moved` when outcomes were counted since: nothing changed, count them here too.

        Raises:
            PositionLost: another replay has begun, or Redis lost writes.
        """
        plan = {
            "id": self._id,
            "positions": {keys.position_field(*place): offset for place, offset in positions.items()},
            "levels": self._levels(),
            "totals": int(whole),
        }
        [reply] = await self._link.run(SWAP, keys.prefix(shard), encode(plan), doing="swapping rebuilt buckets in")
        if reply == "replaced":
            raise _gone(shard)
        return "swapped" if reply == "swapped" else "moved"

    async def drop_others(self, shards: Sequence[str]) -> None:
        """Drop what other replays staged and did not swap; one that is under way cannot swap any more."""
        async with self._link.use("ending other replays") as client, client.pipeline(transaction=False) as pipe:
            for shard in shards:
                pipe.delete(keys.replay(shard))
            await pipe.execute()
        await self._drop(f"{keys.STAGED}*")

    async def drop(self) -> None:
        """Drop what is staged and not swapped, and the guard of what was."""
        await self._drop(f"{keys.STAGED}{self._id}:*")

    async def _drop(self, pattern: str) -> None:
        """Drop the keys of a pattern in steps, so that nobody waits for it."""
        cursor = 0
        while True:
            async with self._link.use("dropping what a replay left") as client:
                cursor, names = await client.scan(cursor, match=pattern, count=_PIECE)
                pipe = client.pipeline(transaction=False)
                for name in names:
                    pipe.unlink(name)
                await pipe.execute()
            if int(cursor) == 0:
                return

    def _levels(self) -> list[tuple[str, int, int, int, list[str]]]:
        """The buckets of the days that can be there, and what is kept in them, as `swap.lua` reads them."""
        now_s, found = self._clock.unix_ms() // 1000, []
        for level in WIDTH_S:
            width_s = WIDTH_S[level]
            oldest_s = now_s - self._applier.retention.levels_s[level] - 2 * width_s
            first_s = max(self._days.start_s, oldest_s // width_s * width_s)
            found.append((keys.LEVEL_CODES[level], width_s, first_s, self._days.end_s, _kinds(level)))
        return found


def _kinds(level: Level) -> list[str]:
    """What is kept in buckets of a level."""
    posts = ["posts"] if level in POST_LEVELS else []
    mentions = ["mentions", "forms"] if level in MENTION_LEVELS else []
    return [*posts, *mentions, *DETAILS.get(level, ())]


def _gone(shard: str) -> PositionLost:
    return PositionLost(
        f"what was rebuilt of {shard} is gone: another replay has begun, or Redis lost writes; the counters are as "
        "they were, run the replay again"
    )
