"""What Redis holds of a deployment, asked from outside."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

from worker.opinion.answers import Totals
from worker.opinion.client import Link
from worker.opinion.queries import Queries
from worker.opinion.reader import RedisReader
from worker.opinion.store import AggregateStore
from worker.settings import Settings

Answer = TypeVar("Answer")


def ask(settings: Settings, question: Callable[[Link], Awaitable[Answer]]) -> Answer:
    """Ask over a connection of its own."""

    async def main() -> Answer:
        link = Link.of(settings)
        try:
            return await question(link)
        finally:
            await link.aclose()

    return asyncio.run(main())


def totals(settings: Settings) -> Totals:
    """What is counted over all partitions."""
    return ask(settings, lambda link: Queries(RedisReader(link), settings).totals())


def applied(settings: Settings) -> int:
    """Outcomes in Kafka before the stored positions."""

    async def count(link: Link) -> int:
        positions = await AggregateStore(link, settings).positions(await RedisReader(link).shards())
        return sum(sum(found.values()) for found in positions.values())

    return ask(settings, count)


def empty(settings: Settings) -> None:
    """FLUSHALL."""
    ask(settings, lambda link: link.redis.flushall())
