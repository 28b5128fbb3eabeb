"""What people are shown can be made again: an index from `enriched` alone, without any inference."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Sequence

import msgspec
import pytest

from tests.opinion_index import CONFUSIONS
from tests.opinion_outcomes import NOW_S, SHARD, Words, clock, post, settings
from tests.unit.test_opinion_queries import OTHER, window
from worker.events import encode, position_headers
from worker.opinion.cells import Level, Outcome
from worker.opinion.client import Link
from worker.opinion.index.index import index
from worker.opinion.index.point import IndexPoint
from worker.opinion.index.standard import Standard
from worker.opinion.outcomes import read_outcome
from worker.opinion.queries import Queries
from worker.opinion.reader import RedisReader
from worker.opinion.store import AggregateStore, Consumed

pytestmark = pytest.mark.integration

SHARDS = (SHARD, OTHER)
POSTS = 400
LEVELS: tuple[Level, ...] = ("five_minutes", "hour")
Log = dict[str, list[Outcome]]


def enriched() -> Log:
    """Posts of two languages and two source classes as they are read from the topic, a fifth of them copies."""
    rng, log = random.Random(1), {}
    for shard in SHARDS:
        log[shard] = [_stored(post(offset, _words(rng), shard=shard)) for offset in range(POSTS)]
    return log


def _words(rng: random.Random) -> Words:
    return Words(
        at_s=NOW_S - rng.randrange(3600),
        language=rng.choice(["en", "de"]),
        source_class=rng.choice(["social", "financial"]),
        label=rng.choice(["negative", "neutral", "positive"]),
        abstained=rng.random() < 0.1,
        author="loud" if rng.random() < 0.3 else f"author {rng.randrange(50)}",
        copy_of="a story" if rng.random() < 0.2 else None,
    )


def _stored(outcome: Outcome) -> Outcome:
    """What the record of an outcome says to whoever reads it."""
    assert outcome.event is not None
    return read_outcome(position_headers(outcome.position, outcome.broker_ms), encode(outcome.event))


async def applied(store: AggregateStore, log: Log, batch: int, again: int) -> None:
    """Read the partitions in batches; after each, as a killed worker would, go back by some records."""
    for shard, outcomes in log.items():
        partition = int(shard.rpartition(":")[2])
        for start in range(0, len(outcomes), batch):
            first, upto = max(start - again, 0), min(start + batch, len(outcomes))
            await store.apply(shard, Consumed("enriched", partition, first or None, upto), outcomes[first:upto])


async def points(link: Link) -> list[IndexPoint | None]:
    """The index of each five minutes and hour."""
    queries, found = Queries(RedisReader(link), settings(), clock()), []
    for level in LEVELS:
        tallied = [each.cells for each in await queries.tallies(window(level, NOW_S - 3600, NOW_S)) if each.cells]
        found += [index(cells, Standard.of(tallied[0]), CONFUSIONS) for cells in tallied]
    return found


def flat(found: Sequence[IndexPoint | None]) -> list[float]:
    """Every number."""
    numbers: list[float] = []
    for point in found:
        for value in msgspec.to_builtins(point).values():
            numbers += value.values() if isinstance(value, dict) else [value]
    return numbers


def test_a_rebuild_from_enriched_gives_the_same_index(redis_url: str) -> None:
    """Read with repeats in batches of 50 beside another empty Redis that reads once, other partition first."""

    async def main() -> tuple[list[IndexPoint | None], list[IndexPoint | None]]:
        link, log, found = Link(redis_url, 5.0), enriched(), []
        for given, batch, again in ((log, 50, 20), (dict(reversed(log.items())), 170, 0)):
            await link.redis.flushall()
            await applied(AggregateStore(link, settings(), clock()), given, batch, again)
            found.append(await points(link))
        await link.aclose()
        return found[0], found[1]

    lived, rebuilt = asyncio.run(main())
    assert len(lived) >= 12
    assert None not in lived
    assert flat(rebuilt) == pytest.approx(flat(lived), rel=1e-12, abs=1e-12)
