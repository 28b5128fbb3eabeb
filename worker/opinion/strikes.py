"""Failures of one record alone, counted in Redis so that they survive a restart."""

from __future__ import annotations

import uuid

from worker.opinion import keys
from worker.opinion.client import Link

KEPT_S = 86_400


async def strike(link: Link, event_id: str) -> int:
    """Note one more failure; forgotten a day after the last one.

    A set of tokens, not a counter: a repeat of this call whose first reply was lost adds the same token again,
    so that no record is given up before its time.

    Returns:
        How many failures are noted, this one included.
    """
    key = keys.strikes(event_id)
    async with link.use("counting a failure") as client, client.pipeline(transaction=True) as pipe:
        pipe.sadd(key, uuid.uuid4().hex)
        pipe.expire(key, KEPT_S)
        pipe.scard(key)
        replies = await pipe.execute()
    return int(replies[-1])
