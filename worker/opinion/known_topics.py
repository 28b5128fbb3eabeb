"""The id of each input topic, as first read: tells a topic that was deleted and made again from the old one."""

from __future__ import annotations

from collections.abc import Mapping

from worker.opinion import keys
from worker.opinion.client import Link


async def first_ids(link: Link, ids: Mapping[str, str]) -> dict[str, str]:
    """Note topics that are new here; the noted id of each.

    Args:
        ids: input topic to its present id.
    """
    async with link.use("looking up topics") as client, client.pipeline(transaction=True) as pipe:
        for topic, topic_id in ids.items():
            pipe.hsetnx(keys.TOPICS, topic, topic_id)
        pipe.hmget(keys.TOPICS, list(ids))
        found = (await pipe.execute())[-1]
    return dict(zip(ids, map(str, found), strict=True))


async def accept_ids(link: Link, ids: Mapping[str, str]) -> None:
    """Note the present ids in place of what was noted."""
    async with link.use("noting topics") as client:
        await client.hset(keys.TOPICS, items=[part for pair in ids.items() for part in pair])
