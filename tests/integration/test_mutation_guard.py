"""Tests the tests: without the guard in the script, what proves exactly-once effect fails."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest

from tests.opinion_outcomes import SHARD, Words, clock, dead, exact_state, implied_state, post, settings
from worker.errors import PositionLost
from worker.opinion.cells import Outcome
from worker.opinion.client import Link, Script
from worker.opinion.reader import RedisReader
from worker.opinion.store import APPLY, AggregateStore, Consumed

pytestmark = pytest.mark.integration

BATCH = [post(0, Words(entities=["Apple"])), dead(1), post(2, Words(language="de"))]


def mutant(healthy: str, broken: str) -> Script:
    """The shipped script with one place changed."""
    assert APPLY.text.count(healthy) == 1, f"the script no longer holds {healthy!r}: adapt this mutant"
    return Script(APPLY.text.replace(healthy, broken))


WITHOUT_GUARD = ("if claim(row.offset, SEEN) then", "if claim(row.offset, SEEN) or true then")
WITHOUT_ORIGIN_GUARD = ("and not claim(requeued and row.origin or row.offset, ANALYSED)", "and false")
WITHOUT_EXPECTATION = ("if batch.expected >= 0 and (stored == nil", "if false and (stored == nil")


def counters(url: str, script: Script, batches: Sequence[Sequence[Outcome]]) -> dict[object, int]:
    """What the batches leave in an empty Redis; each is delivered as if its reply had been lost before."""

    async def main() -> dict[object, int]:
        link = Link(url, 5.0)
        await link.redis.flushall()
        store = AggregateStore(link, settings(), clock(), script)
        for number, batch in enumerate(batches):
            await store.apply(SHARD, Consumed("enriched", 0, number or None, number + 1), batch)
        found = await exact_state(RedisReader(link), [SHARD])
        await store.aclose()
        return found

    return asyncio.run(main())


def test_without_the_guard_a_second_delivery_counts_twice(redis_url: str) -> None:
    """The check that passes with the shipped script fails with the guard removed."""
    assert counters(redis_url, APPLY, [BATCH, BATCH]) == implied_state(BATCH)
    broken = counters(redis_url, mutant(*WITHOUT_GUARD), [BATCH, BATCH])
    assert broken != implied_state(BATCH)
    assert broken[SHARD, "received"] == 2 * len(BATCH)
    assert broken[SHARD, "dead_lettered"] == 2


def test_without_the_guard_of_origins_a_second_requeue_counts_twice(redis_url: str) -> None:
    """Two successes of one dead letter are two records, so that only the second guard tells them."""
    requeued = [[dead(0)], [post(1, origin=0)], [post(2, origin=0)]]
    assert counters(redis_url, APPLY, requeued)[SHARD, "analysed"] == 1
    assert counters(redis_url, mutant(*WITHOUT_ORIGIN_GUARD), requeued)[SHARD, "analysed"] == 2


def test_without_the_expected_position_a_rollback_goes_unnoticed(redis_url: str) -> None:
    """A Redis that lost batch one takes batch two, and what was in between is never counted."""

    def after_rollback(script: Script) -> int:
        async def main() -> int:
            link = Link(redis_url, 5.0)
            await link.redis.flushall()
            store = AggregateStore(link, settings(), clock(), script)
            try:
                await store.apply(SHARD, Consumed("enriched", 0, None, 1), BATCH[:1])
                await link.redis.flushall()
                return (await store.apply(SHARD, Consumed("enriched", 0, 1, 3), BATCH[1:])).first
            finally:
                await store.aclose()

        return asyncio.run(main())

    with pytest.raises(PositionLost):
        after_rollback(APPLY)
    assert after_rollback(mutant(*WITHOUT_EXPECTATION)) == 2
