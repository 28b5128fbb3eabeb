"""Reading along a topic."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Literal

from worker.feeds.connect import consumer
from worker.feeds.log import Record, end_offsets, follow, partitions_of
from worker.settings import Settings

Start = Literal["beginning", "end"]


def tail(settings: Settings, topic: str, start: Start = "end", count: int | None = None) -> Iterator[Record]:
    """The records of all partitions of a topic as they come, without a consumer group.

    Order holds within a partition. Partitions that are added later are not read. The start `beginning` reads first
    what is there, `end` waits for new records. It ends after `count` records, or never.

    Raises:
        ConfigInvalid: there is no such topic.
        BrokerUnavailable: the cluster cannot be reached.
    """
    for batch in batches(settings, [topic], start):
        yield from batch[:count]
        if count is not None:
            count -= len(batch)
            if count <= 0:
                return


def batches(settings: Settings, topics: Sequence[str], start: Start) -> Iterator[list[Record]]:
    """As `tail`, of several topics, poll by poll.

    A poll without a record gives an empty list, so that a caller can look at other things; the first comes when all
    starting positions are known.
    """
    with consumer(settings) as client:
        partitions = [partition for topic in topics for partition in partitions_of(client, topic)]
        offsets = client.beginning_offsets(partitions) if start == "beginning" else end_offsets(client, partitions)
        yield from follow(client, offsets)
