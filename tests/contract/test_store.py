"""What every aggregate store promises; run over the store in memory and the one in Redis."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime

import pytest

from tests.opinion_outcomes import (
    NOW_S,
    SCORES,
    SHARD,
    UNKNOWN,
    Words,
    buckets_around,
    clock,
    dead,
    exact_state,
    implied_state,
    position,
    post,
    settings,
    tombstone,
)
from worker.errors import PositionLost
from worker.opinion.answers import Where, Window
from worker.opinion.cells import Outcome
from worker.opinion.client import Link
from worker.opinion.memory import MemoryStore
from worker.opinion.queries import Queries
from worker.opinion.reader import Reader, RedisReader
from worker.opinion.store import AggregateStore, Applied, Consumed, Store
from worker.settings import Settings


@dataclass(frozen=True)
class Opened:
    """A store, and what reads it."""

    store: Store
    reader: Reader

    async def apply(self, outcomes: Sequence[Outcome], expected: int | None = None, upto: int = 0) -> Applied:
        return await self.store.apply(SHARD, Consumed("enriched", 3, expected, upto), outcomes)

    async def state(self) -> dict[object, int]:
        return await exact_state(self.reader, [SHARD])


Opens = Callable[[Settings], AbstractAsyncContextManager[Opened]]


@asynccontextmanager
async def in_memory(chosen: Settings) -> AsyncIterator[Opened]:
    store = MemoryStore(chosen, clock())
    yield Opened(store, store)


def in_redis(url: str) -> Opens:
    @asynccontextmanager
    async def opens(chosen: Settings) -> AsyncIterator[Opened]:
        link = Link(url, 5.0)
        store = AggregateStore(link, chosen, clock())
        try:
            yield Opened(store, RedisReader(link))
        finally:
            await store.aclose()

    return opens


@pytest.fixture(params=["memory", pytest.param("redis", marks=pytest.mark.integration)])
def opens(request: pytest.FixtureRequest) -> Opens:
    """How to open the store under test, empty."""
    return in_memory if request.param == "memory" else in_redis(request.getfixturevalue("redis_url"))


def run(opens: Opens, body: Callable[[Opened], Awaitable[None]], **overrides: object) -> None:
    async def main() -> None:
        async with opens(settings(**overrides)) as opened:
            await body(opened)

    asyncio.run(main())


NOW = datetime.fromtimestamp(NOW_S, UTC)
TODAY = Window("day", NOW, NOW)
MIXED = [
    post(0, Words(label="negative", entities=["Apple", "Berlin"])),
    dead(1),
    tombstone(2),
    post(3, Words(label="positive", language="de", at_s=NOW_S - 4000)),
    post(4, Words(abstained=True, entities=["Apple"])),
    post(7, Words(label="neutral", source_class="financial")),
    post(8, Words(label="neutral", source_class="financial", copy_of="a story")),
    dead(9, reason="text_too_long", at_s=NOW_S - 3700),
]


def test_every_outcome_is_counted_in_its_cells_and_totals(opens: Opens) -> None:
    """A batch adds what its outcomes imply: posts, mentions, dead letters, tombstones, copies, newest events."""

    async def body(opened: Opened) -> None:
        assert await opened.apply(MIXED, None, 9) == Applied(first=8, repeats=0)
        assert await opened.state() == implied_state(MIXED)

    run(opens, body)


def test_a_mention_counts_with_its_own_sentiment(opens: Opens) -> None:
    """A criticised company in a cheerful post is criticised; a mention without its own takes the post's.

    One without an id counts among all mentions, and under no entity.
    """
    outcomes = [post(0, Words(label="positive", entities=[("apple", SCORES["negative"]), "berlin", UNKNOWN]))]

    async def body(opened: Opened) -> None:
        await opened.apply(outcomes, None, 1)
        assert await opened.state() == implied_state(outcomes)
        [forms] = await opened.reader.forms(SHARD, buckets_around("hour")[-1:], ["org:apple", "org:berlin", ""])
        labels = {form: (one.negative, one.positive) for form, cells in forms.cells.items() for one in cells.values()}
        assert labels == {"org:apple": (1, 0), "org:berlin": (0, 1)}

    run(opens, body)


def test_forms_keep_their_cells_over_many_batches(opens: Opens) -> None:
    """A form's counts can be asked for by language, class and model version, however its batches came."""

    async def body(opened: Opened) -> None:
        for number in range(66):
            words = Words(language=f"l{number % 11}", source_class=f"s{number % 3}", entities=["apple"])
            await opened.apply([post(number, words)], number or None, number + 1)
        queries = Queries(opened.reader, settings(), clock())
        for where, count in [
            (Where(entity="org:apple"), 66),
            (Where(entity="org:apple", language="l1"), 6),
            (Where(entity="org:apple", language="l1", source_class="s1"), 2),
            (Where(entity="org:pear"), 0),
        ]:
            [point] = await queries.series(TODAY, where)
            assert point.measures.analysed == point.measures.positive == count
            assert point.measures.score_micros == 750_000 * count

    run(opens, body)


def test_queries_sum_every_partition_that_was_written(opens: Opens) -> None:
    """A partition is known to queries from its first batch on, without a scan of the database."""

    async def body(opened: Opened) -> None:
        shards = [SHARD, "topic-a:1", "topic-b:0"]
        for shard in shards:
            await opened.store.apply(
                shard, Consumed("enriched", 0, None, 1), [post(0, Words(entities=["A"]), shard=shard)]
            )
        assert await opened.reader.shards() == shards
        queries = Queries(opened.reader, settings(), clock())
        assert (await queries.totals()).analysed == 3
        assert (await queries.breakdown(TODAY, ("language",)))[("en",)].analysed == 3
        top = await queries.top_entities(TODAY, 5)
        assert [(one.id, one.measures.analysed) for one in top.entities] == [("org:A", 3)]
        assert top.mentions.analysed == 3
        assert await queries.watermark_ms() == (NOW_S - 30) * 1000

    run(opens, body)


def test_a_second_delivery_changes_nothing(opens: Opens) -> None:
    """The same outcomes again, in one batch or split, are repeats; so is another outcome of a counted record."""

    async def body(opened: Opened) -> None:
        await opened.apply(MIXED, None, 9)
        before = await opened.state()
        assert await opened.apply(MIXED[:3], 9, 3) == Applied(first=0, repeats=3)
        assert await opened.apply(MIXED[3:], 9, 9) == Applied(first=0, repeats=5)
        assert await opened.apply([dead(0), post(1), post(2)], 9, 12) == Applied(first=0, repeats=3)
        assert await opened.state() == before

    run(opens, body)


def test_a_repeat_inside_one_batch_counts_once(opens: Opens) -> None:
    """The guard holds within a batch too, where both outcomes are unknown to the store."""

    async def body(opened: Opened) -> None:
        assert await opened.apply([post(5), post(5), dead(5)], None, 3) == Applied(first=1, repeats=2)
        assert await opened.state() == implied_state([post(5)])

    run(opens, body)


def test_offsets_far_apart_do_not_meet_in_the_guard(opens: Opens) -> None:
    """Gaps and chunk borders: each offset has a bit of its own."""

    async def body(opened: Opened) -> None:
        outcomes = [post(offset) for offset in (0, 1, 4095, 4096, 8191, 8192, 5_000_000_000)]
        assert await opened.apply(outcomes, None, 7) == Applied(first=7, repeats=0)
        assert await opened.apply(outcomes, 7, 7) == Applied(first=0, repeats=7)

    run(opens, body)


def test_the_position_is_stored_with_the_batch_and_never_moves_back(opens: Opens) -> None:
    """Each consumed partition has its own position; a slower worker's lower one does not replace it."""

    async def body(opened: Opened) -> None:
        await opened.apply([post(0)], None, 10)
        await opened.apply([], 10, 20)
        await opened.apply([post(0)], 10, 12)
        await opened.store.apply(SHARD, Consumed("dead-letters", 3, None, 4), [dead(1)])
        assert await opened.store.positions([SHARD, "other:0"]) == {
            SHARD: {("enriched", 3): 20, ("dead-letters", 3): 4},
            "other:0": {},
        }

    run(opens, body)


@pytest.mark.parametrize("stored", [None, 10])
def test_a_lower_position_than_confirmed_applies_nothing(opens: Opens, stored: int | None) -> None:
    """A store that lost writes is told from one that is ahead: it counts nothing, and says what is stored."""

    async def body(opened: Opened) -> None:
        if stored is not None:
            await opened.apply([post(0)], None, stored)
        before = await opened.state()
        with pytest.raises(PositionLost, match=r"enriched .*12 had been confirmed"):
            await opened.apply([post(1)], 12, 13)
        assert await opened.state() == before
        assert (await opened.store.positions([SHARD]))[SHARD].get(("enriched", 3)) == stored

    run(opens, body)


def test_a_zombie_behind_the_stored_position_counts_only_what_is_new(opens: Opens) -> None:
    """A stored position ahead of the expected one is another worker's progress: the guard sorts it out."""

    async def body(opened: Opened) -> None:
        await opened.apply([post(0), post(1)], None, 2)
        assert await opened.apply([post(1), post(2)], 1, 3) == Applied(first=1, repeats=1)
        assert await opened.state() == implied_state([post(0), post(1), post(2)])

    run(opens, body)


def test_a_requeued_dead_letter_counts_once_and_resolves_its_original(opens: Opens) -> None:
    """However often it is requeued, the first success counts; failures again do not add dead letters."""

    async def body(opened: Opened) -> None:
        await opened.apply([dead(1), dead(2)], None, 2)
        assert await opened.store.resolved([position(1), position(2)]) == [False, False]
        await opened.apply([dead(10, origin=1), post(11, origin=1), post(12, origin=1)], 2, 5)
        assert await opened.store.resolved([position(1), position(2)]) == [True, False]
        totals = await opened.reader.totals(SHARD)
        wanted = {"received": 2, "requeued": 3, "dead_lettered": 2, "dead_lettered_again": 1}
        assert {name: totals.get(name, 0) for name in wanted} == wanted
        assert (totals["analysed"], totals["resolved"], totals["superseded"]) == (1, 1, 1)
        [posts] = await opened.reader.posts(SHARD, buckets_around("hour")[-1:])
        assert (posts.counts["resolved"], sum(one.analysed for one in posts.cells.values())) == (1, 1)

    run(opens, body)


@pytest.mark.parametrize("requeued_first", [True, False])
def test_an_original_that_was_analysed_after_all_is_not_counted_twice(opens: Opens, requeued_first: bool) -> None:
    """`enriched` and `dead-letters` may both hold a record; whichever success comes first counts, once."""

    async def body(opened: Opened) -> None:
        pair = [post(30, origin=1), post(1)]
        for upto, outcome in enumerate(pair if requeued_first else reversed(pair)):
            await opened.apply([outcome], upto or None, upto + 1)
        totals = await opened.reader.totals(SHARD)
        assert (totals["received"], totals["requeued"], totals["analysed"], totals["superseded"]) == (1, 1, 1, 1)

    run(opens, body)


def test_an_origin_in_another_partition_is_a_record_of_its_own(opens: Opens) -> None:
    """A dead letter of a deleted topic, requeued into its successor, has nothing to resolve there."""

    async def body(opened: Opened) -> None:
        foreign = post(3)
        moved = Outcome(
            position=foreign.position,
            kind="analysed",
            broker_ms=foreign.broker_ms,
            origin=position(3, "topic-gone:0"),
            event=foreign.event,
        )
        await opened.apply([moved], None, 1)
        assert await opened.state() == implied_state([post(3)])

    run(opens, body)


def test_a_post_older_than_a_level_is_too_late_for_it_alone(opens: Opens) -> None:
    """No cell is made that would outlive its retention; the other levels count, and the totals say so."""

    async def body(opened: Opened) -> None:
        await opened.apply([post(0, Words(at_s=NOW_S - 2 * 86_400 - 600, entities=["Apple"]))], None, 1)
        totals = await opened.reader.totals(SHARD)
        assert {name: value for name, value in totals.items() if name.startswith("too_late")} == {
            "too_late:minute": 1,
            "too_late:five_minutes": 1,
        }
        [minute] = await opened.reader.posts(SHARD, buckets_around("minute")[-1:])
        assert (minute.counts, minute.cells) == ({"too_late": 1}, {})

    run(opens, body)


def test_forms_are_bounded_and_never_overcount(opens: Opens) -> None:
    """Over the limit the rarest forms go: frequent ones stay, no count is too high, the loss is bounded."""

    async def body(opened: Opened) -> None:
        outcomes = [post(i, Words(entities=["apple", f"rare {i}", UNKNOWN])) for i in range(60)]
        for start in range(0, 60, 5):
            await opened.apply(outcomes[start : start + 5], start or None, start + 5)
        today = buckets_around("day")[-1:]
        [forms] = await opened.reader.form_counts(SHARD, today)
        counts = forms.counts
        assert len(counts) <= 8
        assert counts["org:apple"] == 60
        assert all(value <= 1 for form, value in counts.items() if form != "org:apple")
        assert forms.lost >= 1
        [mentions] = await opened.reader.mentions(SHARD, today)
        assert sum(one.analysed for one in mentions.values()) == 180
        [some] = await opened.reader.forms(SHARD, today, ["org:apple", "org:pear"])
        assert (set(some.cells), some.lost) == ({"org:apple"}, forms.lost)
        assert sum(one.analysed for one in some.cells["org:apple"].values()) == 60

    run(opens, body, entity_forms_per_window=8)


def test_a_batch_of_mixed_partitions_is_refused(opens: Opens) -> None:
    """One call is one source partition: a stray outcome is a bug, and counts nothing."""

    async def body(opened: Opened) -> None:
        with pytest.raises(ValueError, match="shard"):
            await opened.apply([post(0), post(1, shard="topic-a:1")], None, 2)
        assert await opened.store.positions([SHARD]) == {SHARD: {}}

    run(opens, body)


def test_strikes_are_counted_per_record(opens: Opens) -> None:
    """The third failure of a record is seen as the third, whatever happens to others."""

    async def body(opened: Opened) -> None:
        name = uuid.uuid4().hex
        assert [await opened.store.strike(name) for _ in range(3)] == [1, 2, 3]
        assert await opened.store.strike(uuid.uuid4().hex) == 1

    run(opens, body)
