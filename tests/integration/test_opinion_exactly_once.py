"""Any way of delivering a log leaves what its first applied outcomes imply, in Redis as in memory."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from tests.opinion_outcomes import (
    NOW_S,
    SHARD,
    Words,
    clock,
    dead,
    exact_state,
    implied_state,
    post,
    settings,
    tombstone,
)
from worker.opinion.cells import Outcome
from worker.opinion.client import Link
from worker.opinion.memory import MemoryStore
from worker.opinion.reader import RedisReader
from worker.opinion.store import AggregateStore, Consumed, Store

pytestmark = pytest.mark.integration

WORDS = st.builds(
    Words,
    at_s=st.integers(NOW_S - 3 * 3600 + 3600, NOW_S),
    language=st.sampled_from(["en", "de"]),
    label=st.sampled_from(["negative", "neutral", "positive"]),
    abstained=st.booleans(),
    copy_of=st.sampled_from([None, "a story"]),
    author=st.sampled_from([None, "ann", "bob"]),
    entities=st.lists(st.sampled_from(["Apple", "Berlin", "Łódź"]), max_size=2),
)
OFFSETS = st.integers(0, 12) | st.sampled_from([4095, 4096, 70_000])


@st.composite
def outcomes(draw: st.DrawFn) -> Outcome:
    """An outcome of one of few records, so that they meet: repeats, and enriched against dead-lettered."""
    offset = draw(OFFSETS)
    kind = draw(st.sampled_from(["post", "post", "post", "dead", "tombstone"]))
    if kind == "post":
        return post(offset, draw(WORDS))
    return dead(offset, reason=draw(st.sampled_from(["not_json", "bad_utf8"]))) if kind == "dead" else tombstone(offset)


@dataclass(frozen=True)
class Delivery:
    """Reads one of the two logs from an offset on, at or before what was read last, for some records."""

    topic: str
    back: int
    count: int


DELIVERIES = st.lists(
    st.builds(Delivery, st.sampled_from(["enriched", "dead-letters"]), st.integers(0, 6), st.integers(1, 7)),
    max_size=12,
)
LOGS = st.fixed_dictionaries(
    {"enriched": st.lists(outcomes(), max_size=15), "dead-letters": st.lists(outcomes(), max_size=6)}
)


async def deliver(store: Store, logs: dict[str, list[Outcome]], deliveries: Sequence[Delivery]) -> list[Outcome]:
    """Deliver as told, then the rest of both logs; returns the outcomes in the order in which they came."""
    read = dict.fromkeys(logs, 0)
    rest = [Delivery(topic, 0, len(log) + 1) for topic, log in logs.items()]
    came: list[Outcome] = []
    for delivery in [*deliveries, *rest]:
        log, upto = logs[delivery.topic], read[delivery.topic]
        start = max(0, upto - delivery.back)
        batch = log[start : start + delivery.count]
        consumed = Consumed(delivery.topic, 0, start or None, start + len(batch))
        await store.apply(SHARD, consumed, batch)
        read[delivery.topic] = max(upto, start + len(batch))
        came += batch
    return came


def first_of_each(came: Sequence[Outcome]) -> list[Outcome]:
    """The first outcome of each record."""
    first: dict[int, Outcome] = {}
    for outcome in came:
        first.setdefault(outcome.position.offset, outcome)
    return list(first.values())


@given(logs=LOGS, deliveries=DELIVERIES)
@hypothesis_settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_delivery_leaves_what_the_first_outcomes_imply(
    redis_url: str, logs: dict[str, list[Outcome]], deliveries: list[Delivery]
) -> None:
    """Logs interleaved, split, and read again from any earlier offset: counters are those of the first outcomes."""

    async def main() -> None:
        link = Link(redis_url, 5.0)
        await link.redis.flushall()
        memory = MemoryStore(settings(), clock())
        for store, reader in ((AggregateStore(link, settings(), clock()), RedisReader(link)), (memory, memory)):
            came = await deliver(store, logs, deliveries)
            assert await exact_state(reader, [SHARD]) == implied_state(first_of_each(came))
        await link.aclose()

    asyncio.run(main())


@given(data=st.data())
@hypothesis_settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_both_stores_agree_about_requeued_dead_letters(redis_url: str, data: st.DataObject) -> None:
    """Originals and requeued records in any order: one analysed post per original at most, and the totals balance."""
    originals = data.draw(st.lists(st.sampled_from([dead(0), post(0), dead(1), dead(2)]), max_size=4))
    requeued = data.draw(
        st.lists(st.builds(lambda to, of, ok: post(to, origin=of) if ok else dead(to, origin=of),
                           st.integers(10, 15), st.integers(0, 2), st.booleans()), max_size=6)
    )  # fmt: skip
    log = data.draw(st.permutations([*originals, *requeued]))

    async def main() -> None:
        link = Link(redis_url, 5.0)
        await link.redis.flushall()
        redis_store, memory = AggregateStore(link, settings(), clock()), MemoryStore(settings(), clock())
        for store in (redis_store, memory):
            await store.apply(SHARD, Consumed("enriched", 0, None, len(log)), log)
        state = await exact_state(RedisReader(link), [SHARD])
        assert state == await exact_state(memory, [SHARD])
        await link.aclose()
        total = {name: state.get((SHARD, name), 0) for name in TOTALS}
        assert total["analysed"] <= 3
        assert total["received"] + total["requeued"] == sum(total[name] for name in TOTALS[2:])

    asyncio.run(main())


TOTALS = ("received", "requeued", "analysed", "dead_lettered", "dead_lettered_again", "superseded", "tombstones")
