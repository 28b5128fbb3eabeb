"""A replay against a real Redis: whatever is damaged, crashes or is counted meanwhile, it gives the live counters."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import pytest
import redis.asyncio
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from tests.histories import DAY_S, TOPICS, History, histories, record
from tests.opinion_outcomes import NOW_S, SHARD, Words, clock, dead, post, settings
from worker.errors import PositionLost, StoreUnavailable, Transient
from worker.feeds.log import Record
from worker.opinion import keys
from worker.opinion.answers import Window
from worker.opinion.cells import Bucket
from worker.opinion.client import Link
from worker.opinion.days import Days, Written
from worker.opinion.queries import Queries
from worker.opinion.reader import RedisReader
from worker.opinion.staging import Staging
from worker.opinion.steady import steady
from worker.opinion.store import AggregateStore, Consumed
from worker.replay.follow import ROUNDS, Follower
from worker.replay.plan import Source
from worker.replay.run import second_generation

pytestmark = pytest.mark.integration

PLACES = [(topic, 0) for topic in TOPICS]
WHOLE = Source(SHARD, dict.fromkeys(PLACES, 0), whole=True)
CONFIGURED = settings(aggregate_batch=3, author_key="a key")
TODAY_S = NOW_S // DAY_S * DAY_S
EVERY_DAY = Days(TODAY_S - 60 * DAY_S, TODAY_S + DAY_S)
TODAY = Days(TODAY_S, TODAY_S + DAY_S)


class Crash(Exception):
    """The process is gone."""


@dataclass
class Logs:
    """Both logs of a history, as a broker has them; `gone` are offsets of `enriched` that are no longer there."""

    history: History
    gone: frozenset[int] = frozenset()

    def records(self, topic: str, partition: int, begin: int, end: int) -> Iterator[Record]:
        assert partition == 0
        for offset in range(begin, end):
            if topic != "enriched" or offset not in self.gone:
                yield record(self.history.logs[topic][offset], offset)


@dataclass
class Live:
    """The worker: counts the history call by call."""

    history: History
    store: AggregateStore
    calls: list[tuple[str, int]] = field(default_factory=list)
    read: dict[str, int] = field(default_factory=lambda: dict.fromkeys(TOPICS, 0))

    async def step(self) -> None:
        """The next call, if there is one."""
        if self.calls:
            topic, count = self.calls.pop(0)
            at = self.read[topic]
            batch = self.history.logs[topic][at : at + count]
            self.read[topic] += len(batch)
            await self.store.apply(SHARD, Consumed(topic, 0, at or None, self.read[topic]), batch)


class CrashingLink(Link):
    """A connection of a process that the worker counts beside, and that dies behind one of its uses."""

    def __init__(self, url: str, live: Callable[[], Any], *, crash_at: int = -1, live_at: Sequence[int] = ()) -> None:
        super().__init__(url, 5.0)
        self.live, self.crash_at, self.live_at, self.uses = live, crash_at, live_at, 0

    @asynccontextmanager
    async def use(self, doing: str) -> AsyncIterator[redis.asyncio.Redis]:
        self.uses += 1
        if self.uses > self.crash_at > 0:
            raise Crash
        if self.uses in self.live_at:
            await self.live()
        async with super().use(doing) as client:
            yield client
        if self.uses == self.crash_at:
            raise Crash


@dataclass
class Case:
    """A Redis, the worker, and a replay beside it."""

    url: str
    history: History
    link: Link
    live: Live

    async def replay(
        self, days: Days = EVERY_DAY, *, gone: frozenset[int] = frozenset(), rounds: int = 0, **crash: Any
    ) -> Follower:
        """One replay of the partition, in a process that may die."""
        link = CrashingLink(self.url, self.live.step, **crash)
        store = AggregateStore(link, CONFIGURED, clock())
        try:
            async with second_generation(link, CONFIGURED, days, clock()) as staging:
                await staging.drop_others([SHARD])
                follower = Follower(Logs(self.history, gone), store, staging, CONFIGURED, lambda _: None, rounds)
                await follower.rebuild(WHOLE)
        finally:
            await link.aclose()
        return follower

    async def state(self) -> dict[str, Any]:
        """Everything that queries can see of the shard, but for when it was counted."""
        reader = RedisReader(self.link)
        found: dict[str, Any] = {"totals": await reader.totals(SHARD)}
        found["totals"].pop("applied_ms", None)
        stored = await reader.buckets(SHARD)
        for bucket, posts in zip(stored.posts, await reader.posts(SHARD, stored.posts), strict=True):
            found |= {f"{bucket} {name}": value for name, value in posts.counts.items() if value}
            found |= {f"{bucket} {cell}": measures for cell, measures in posts.cells.items()}
        for bucket, cells in zip(stored.mentions, await reader.mentions(SHARD, stored.mentions), strict=True):
            found |= {f"{bucket} mentions {cell}": measures for cell, measures in cells.items()}
        for bucket, forms in zip(stored.mentions, await reader.forms(SHARD, stored.mentions, FORMS), strict=True):
            found[f"{bucket} forms"] = forms
        hours = [bucket for bucket in stored.posts if bucket.level == "hour"]
        found["authors"] = await reader.authors(SHARD, [bucket for bucket in stored.posts if bucket.level != "day"])
        mentioned = [bucket for bucket in stored.mentions if bucket.level != "day"]
        found["authors of forms"] = await reader.mention_authors(SHARD, mentioned, FORMS)
        found["samples"] = await reader.samples(SHARD, hours)
        found["samples of forms"] = [await reader.form_samples(SHARD, hours, form) for form in FORMS]
        return found

    async def staged(self) -> list[str]:
        return [str(name) async for name in self.link.redis.scan_iter(f"{keys.STAGED}*")]

    async def keys_of(self, days: Days) -> list[str]:
        """The keys of buckets of some days."""
        names = sorted([str(name) async for name in self.link.redis.scan_iter(f"{keys.prefix(SHARD)}:*")])
        return [
            name for name in names
            if len(parts := name.removeprefix(keys.prefix(SHARD)).split(":")) == 4
            and days.takes(keys.parse_bucket_suffix(":".join(parts[2:])))
        ]  # fmt: skip

    async def damage(self, name: str, how: str) -> None:
        """Drop a key, a field of it, or add something that nothing implies."""
        if how == "drop":
            await self.link.redis.unlink(name)
        elif how == "field":
            await self.link.redis.hdel(name, min(await self.link.redis.hkeys(name)))
        else:
            other = Bucket("hour", TODAY_S)
            await self.link.redis.hset(f"{keys.prefix(SHARD)}:posts:{keys.bucket_suffix(other)}", "dead_lettered", "9")


FORMS = ["org:Apple", "org:Berlin"]


def run(url: str, history: History, body: Callable[[Case], Any], calls: Sequence[tuple[str, int]] | None = None) -> Any:
    """Run with an empty Redis and a worker that has counted nothing yet."""

    async def main() -> Any:
        link = Link(url, 5.0)
        await link.redis.flushall()
        store = AggregateStore(link, CONFIGURED, clock())
        planned = history.applied if calls is None else calls
        rest = [(topic, len(log) + 1) for topic, log in history.logs.items()]
        try:
            return await body(Case(url, history, link, Live(history, store, [*planned, *rest])))
        finally:
            await link.aclose()

    return asyncio.run(main())


async def caught_up(case: Case) -> dict[str, Any]:
    """What it comes to without any replay."""
    while case.live.calls:
        await case.live.step()
    return await case.state()


async def with_first_post(case: Case) -> Staging:
    """A replay that has begun, and counted the first of `POSTS`."""
    staging = Staging(case.link, CONFIGURED, EVERY_DAY, clock())
    await staging.begin(SHARD, WHOLE.start)
    await staging.apply(SHARD, Consumed("enriched", 0, 0, 1), [Written(POSTS.logs["enriched"][0], NOW_S * 1000)])
    return staging


@given(history=histories(), data=st.data())
@hypothesis_settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_replay_gives_what_a_fresh_run_gives(redis_url: str, history: History, data: st.DataObject) -> None:
    """Damage to the days, live outcomes between any two steps, a crash behind any step and another try: as if never."""
    days = data.draw(st.sampled_from([EVERY_DAY, TODAY, Days(TODAY_S - 30 * DAY_S, TODAY_S)]))

    async def body(case: Case) -> None:
        for _ in range(data.draw(st.integers(0, len(case.live.calls)))):
            await case.live.step()
        names = await case.keys_of(days)
        if names:
            how = data.draw(st.sampled_from(["drop", "field", *(["add"] if days.end_s > TODAY_S else [])]))
            await case.damage(data.draw(st.sampled_from(names)), how)
            await case.damage(f"{keys.prefix(SHARD)}:totals", "field")
        live_at = data.draw(st.lists(st.integers(1, 40), max_size=4))
        try:
            await case.replay(days, crash_at=data.draw(st.integers(-20, 60)), live_at=live_at)
        except Crash:
            await case.replay(days)
        assert await case.staged() == []
        assert await caught_up(case) == expected
        await case.replay(days)
        assert await case.state() == expected

    expected = run(redis_url, history, caught_up)
    run(redis_url, history, body)


@pytest.mark.parametrize("analysed_first", [True, False])
def test_the_outcome_that_was_applied_first_stays(redis_url: str, analysed_first: bool) -> None:
    """A dead letter and an analysis of one record, whichever was counted; and a dead letter that was requeued."""
    logs = {"dead-letters": [dead(0), dead(1), dead(3)], "enriched": [post(0), post(2, origin=1), post(4)]}
    calls = [("enriched", 9), ("dead-letters", 9)] if analysed_first else [("dead-letters", 9), ("enriched", 9)]

    async def body(case: Case) -> None:
        before = await caught_up(case)
        assert before["totals"]["dead_lettered"] == (2 if analysed_first else 3)
        await case.replay()
        assert await case.state() == before

    run(redis_url, History(logs), body, calls)


POSTS = History({"dead-letters": [], "enriched": [post(n, Words(at_s=NOW_S - 30 * n)) for n in range(30)]})
ONE_BY_ONE = [("enriched", 1)] * 30


def test_every_kind_of_key_comes_back(redis_url: str) -> None:
    """Of days that were dropped wholly: posts, mentions and forms, authors and samples, at each of their levels."""
    words = [Words(author=f"author {n % 3}", entities=["Apple"], at_s=NOW_S - 30 * n) for n in range(30)]
    history = History({"dead-letters": [], "enriched": [post(n, each) for n, each in enumerate(words)]})

    async def body(case: Case) -> None:
        before, names = await caught_up(case), await case.keys_of(TODAY)
        kinds = {name.removeprefix(f"{keys.prefix(SHARD)}:").rpartition(":")[0] for name in names}
        assert {"authors:m", "authors:h", "mention_authors:f", "mention_authors:h", "form_samples:h"} <= kinds
        for name in names:
            await case.damage(name, "drop")
        await case.replay(TODAY)
        assert await case.keys_of(TODAY) == names
        assert await case.state() == before

    run(redis_url, history, body)


def test_other_days_stay_as_they_are(redis_url: str) -> None:
    """Damage outside of the days is neither healed nor copied, and its keys are the same."""

    async def body(case: Case) -> None:
        await caught_up(case)
        yesterday = Days(TODAY_S - DAY_S, TODAY_S)
        await case.damage((await case.keys_of(TODAY))[0], "drop")
        before = await case.state()
        await case.replay(yesterday)
        assert await case.state() == before

    run(redis_url, POSTS, body)


def test_a_question_is_answered_from_one_generation(redis_url: str) -> None:
    """A swap between two reads of one question: it is asked anew, and sees the new buckets alone."""
    now = datetime.fromtimestamp(NOW_S, UTC)
    today = Window("day", now, now)

    async def body(case: Case) -> None:
        await caught_up(case)
        for name in await case.keys_of(TODAY):
            await case.damage(name, "drop")
        asked: list[tuple[int, int]] = []
        queries = Queries(RedisReader(case.link), CONFIGURED, clock())

        async def ask() -> tuple[int, int]:
            first = (await queries.series(today))[0].measures.analysed
            if not asked:
                await case.replay()
            asked.append((first, (await queries.series(today))[0].measures.analysed))
            return asked[-1]

        assert await steady(RedisReader(case.link), ask) == (30, 30)
        assert asked == [(0, 30), (30, 30)]

    run(redis_url, POSTS, body)


def test_a_second_replay_ends_the_first(redis_url: str) -> None:
    """What the first staged is gone; it can neither count on nor swap half of it in."""

    async def body(case: Case) -> None:
        before = await caught_up(case)
        first = await with_first_post(case)
        second = Staging(case.link, CONFIGURED, EVERY_DAY, clock())
        await second.drop_others([SHARD])
        with pytest.raises(PositionLost, match="another replay has begun"):
            await first.apply(SHARD, Consumed("enriched", 0, 1, 2), [])
        await second.begin(SHARD, WHOLE.start)
        with pytest.raises(PositionLost, match="another replay has begun"):
            await first.swap(SHARD, {("enriched", 0): 31}, whole=True)
        assert await case.state() == before

    run(redis_url, POSTS, body)


def test_a_swap_whose_reply_was_lost_is_done_once(redis_url: str) -> None:
    """Asked again, it says that it is done; what was counted since stays."""

    async def body(case: Case) -> None:
        await case.live.step()
        staging = await with_first_post(case)
        assert await staging.swap(SHARD, {("enriched", 0): 1}, whole=True) == "swapped"
        expected = await caught_up(case)
        assert await staging.swap(SHARD, {("enriched", 0): 1}, whole=True) == "swapped"
        assert await case.state() == expected
        assert expected["totals"]["received"] == 30

    run(redis_url, POSTS, body, ONE_BY_ONE)


def test_outcomes_that_are_gone_stop_a_replay(redis_url: str) -> None:
    """A hole in the log would be counted as nothing: refused, and nothing has changed."""

    async def body(case: Case) -> None:
        before = await caught_up(case)
        with pytest.raises(PositionLost, match=r"enriched\[0\]: offsets 7 to 7 are gone"):
            await case.replay(gone=frozenset([7]))
        assert (await case.state(), await case.staged()) == (before, [])

    run(redis_url, POSTS, body)


def test_a_worker_that_counts_on_all_the_time_is_told(redis_url: str) -> None:
    """After so many tries the replay gives up, and leaves everything as it is."""

    async def body(case: Case) -> None:
        await case.live.step()
        with pytest.raises(Transient, match="the worker counted on"):
            await case.replay(rounds=ROUNDS - 2, live_at=range(1, 100))
        assert await case.staged() == []
        assert (await caught_up(case))["totals"]["received"] == 30

    run(redis_url, POSTS, body, ONE_BY_ONE)


def test_a_full_redis_ends_a_replay_and_not_the_worker(redis_url: str) -> None:
    """What it staged is given back, so that there is room for live outcomes again."""

    async def body(case: Case) -> None:
        before = await caught_up(case)
        try:
            await case.link.redis.config_set("maxmemory", 1)
            with pytest.raises(StoreUnavailable, match="full"):
                await case.replay()
        finally:
            await case.link.redis.config_set("maxmemory", 0)
        assert (await case.state(), await case.staged()) == (before, [])

    run(redis_url, POSTS, body)


def test_a_replay_that_begins_later_in_the_log_knows_the_cells(redis_url: str) -> None:
    """Numbers of cells are the partition's, not the replay's: what was counted before its start had the first ones."""
    old = [post(n, Words(language="de", at_s=NOW_S - 2 * DAY_S)) for n in range(5)]
    history = History({"dead-letters": [], "enriched": [*old, *(post(n) for n in range(5, 9))]})

    async def body(case: Case) -> None:
        before = await caught_up(case)
        source = Source(SHARD, {("enriched", 0): 5, ("dead-letters", 0): 0}, whole=False)
        store = AggregateStore(case.link, CONFIGURED, clock())
        async with second_generation(case.link, CONFIGURED, TODAY, clock()) as staging:
            await Follower(Logs(history), store, staging, CONFIGURED, lambda _: None).rebuild(source)
        assert await case.state() == before

    run(redis_url, history, body)


def test_what_is_counted_before_the_swap_is_not_lost_in_it(redis_url: str) -> None:
    """The swap is refused as long as the live positions are others, of either log, or more of them."""

    async def body(case: Case) -> None:
        await case.live.step()
        staging = await with_first_post(case)
        await case.live.step()
        before = await case.state()
        for positions in ({("enriched", 0): 1}, {("enriched", 0): 2, ("dead-letters", 0): 1}, {}):
            assert await staging.swap(SHARD, positions, whole=True) == "moved"
        assert await case.state() == before
        await staging.apply(SHARD, Consumed("enriched", 0, 1, 2), [Written(POSTS.logs["enriched"][1], NOW_S * 1000)])
        assert await staging.swap(SHARD, {("enriched", 0): 2}, whole=True) == "swapped"
        assert await case.state() == before

    run(redis_url, POSTS, body, ONE_BY_ONE)
