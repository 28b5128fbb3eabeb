"""Positions that the log of their partition does not hold: reading on would skip records, so that the worker must end.

Two keep positions: the group, of the input topics, and Redis, of `enriched` and the dead letters.
"""

from __future__ import annotations

from dataclasses import dataclass

from worker.errors import PositionLost
from worker.stream.records import TopicPartition


@dataclass(frozen=True)
class Keeper:
    """Who keeps a position, in the words of an error.

    Attributes:
        has_read: what is said of it before a position.
        expired: what is to be done when records expired before they were read.
        restarted: what happened to a log that is shorter than what was read of it, and what is to be done.
    """

    has_read: str
    expired: str
    restarted: str


_EARLIEST = "set the group's offset to the earliest (kafka-consumer-groups.sh --reset-offsets) to go on"
GROUP = Keeper(
    has_read="the group has read up to",
    expired=_EARLIEST,
    restarted=f"the topic was cut off, or made again; {_EARLIEST}",
)
REDIS = Keeper(
    has_read="Redis has read up to",
    expired="rebuild",
    restarted="the topic was recreated or cut off; point POLYVOX_REDIS_URL at an empty database to count anew",
)


def refuse_expired(keeper: Keeper, tp: TopicPartition, position: int, begin: int) -> None:
    """Refuse a position before the oldest record of the log.

    Args:
        position: the next offset to read.
        begin: the oldest offset in the log; its end is not compared, the packaged broker tells one that is behind.

    Raises:
        PositionLost: records between the two were never read.
    """
    if position < begin:
        raise PositionLost(
            f"{tp.topic}[{tp.partition}]: {keeper.has_read} {position}, the log begins at {begin}: "
            f"{begin - position} records expired unread; lengthen the topic's retention and {keeper.expired}"
        )


def started_over(keeper: Keeper, tp: TopicPartition, position: int, found: int) -> PositionLost:
    """The error for a log that goes on before a position: clients answer one beyond the log by starting over."""
    return PositionLost(
        f"{tp.topic}[{tp.partition}]: {keeper.has_read} {position}, the log is at {found}: {keeper.restarted}"
    )
