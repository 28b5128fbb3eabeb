"""The store in Redis under what happens to servers: lost replies, rollbacks, a full memory, other owners."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

import pytest

from tests.opinion_outcomes import NOW_S, SHARD, Words, clock, dead, exact_state, implied_state, post, settings
from worker.errors import ConfigInvalid, PositionLost, StoreUnavailable
from worker.opinion import keys
from worker.opinion.cells import Bucket, Outcome
from worker.opinion.client import Link
from worker.opinion.reader import RedisReader
from worker.opinion.store import AggregateStore, Applied, Consumed
from worker.opinion.strikes import strike
from worker.timing import SystemClock

pytestmark = pytest.mark.integration

POSTS = [post(i, Words(entities=["Apple", "Berlin"], author=f"author {i}")) for i in range(20)]


@dataclass(frozen=True)
class Parts:
    """A store, its connection, and a second connection that looks from outside."""

    store: AggregateStore
    link: Link
    admin: Any

    async def apply(self, outcomes: list[Outcome], expected: int | None, upto: int) -> Applied:
        return await self.store.apply(SHARD, Consumed("enriched", 0, expected, upto), outcomes)

    async def state(self) -> dict[object, int]:
        return await exact_state(RedisReader(self.link), [SHARD])


def run(url: str, body: Callable[[Parts], Awaitable[None]], timeout_s: float = 5.0, via: str | None = None) -> None:
    async def main() -> None:
        link, outside = Link(via or url, timeout_s), Link(url, 5.0)
        store = AggregateStore(link, settings(), clock())
        try:
            await body(Parts(store, link, outside.redis))
        finally:
            await store.aclose()
            await outside.aclose()

    asyncio.run(main())


@dataclass
class LossyProxy:
    """Stands before Redis; on demand it lets a request through and closes instead of handing back the reply."""

    upstream: str
    lose: int = 0
    lost: int = 0
    serving: set[asyncio.Task[None]] = field(default_factory=set)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[str]:
        """The proxy's URL."""
        server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        async with server:
            yield f"redis://127.0.0.1:{server.sockets[0].getsockname()[1]}/0"
        await asyncio.gather(*self.serving)

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.serving.add(asyncio.create_task(self._serve(reader, writer)))

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        where = urlsplit(self.upstream)
        up_reader, up_writer = await asyncio.open_connection(where.hostname, where.port)
        await asyncio.gather(self._pump(reader, up_writer, replies=False), self._pump(up_reader, writer, replies=True))

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, replies: bool) -> None:
        with suppress(ConnectionError):
            while data := await reader.read(65536):
                if replies and self.lose:
                    self.lose, self.lost = self.lose - 1, self.lost + 1
                    break
                writer.write(data)
                await writer.drain()
        writer.close()
        with suppress(ConnectionError):
            await writer.wait_closed()


def test_a_lost_reply_counts_once(redis_url: str) -> None:
    """The reply is lost after the script ran: the client's own retry, and the caller's, find the guard."""

    async def main() -> None:
        proxy = LossyProxy(redis_url)
        async with proxy.running() as url:
            link = Link(url, 5.0)
            store = AggregateStore(link, settings(), clock())
            await store.apply(SHARD, Consumed("enriched", 0, None, 0), [])
            for index, outcome in enumerate(POSTS):
                proxy.lose = 1 + index % 2  # two: the client's retry is lost as well, and the caller repeats
                consumed = Consumed("enriched", 0, index, index + 1)
                try:
                    await store.apply(SHARD, consumed, [outcome])
                except StoreUnavailable:
                    await store.apply(SHARD, consumed, [outcome])
            assert proxy.lost == 30
            assert await exact_state(RedisReader(link), [SHARD]) == implied_state(POSTS)
            await store.aclose()

    asyncio.run(main())


def test_a_lost_reply_is_one_strike(redis_url: str) -> None:
    """A record is not given up because the network failed instead of it."""

    async def main() -> None:
        proxy = LossyProxy(redis_url)
        async with proxy.running() as url:
            link = Link(url, 5.0)
            await link.check()
            for wanted in (1, 2, 3):
                proxy.lose = 1
                assert await strike(link, "an-event") == wanted
            assert proxy.lost == 3
            await link.aclose()

    asyncio.run(main())


def test_a_rolled_back_redis_is_noticed_and_caught_up(redis_url: str) -> None:
    """Redis comes back older: nothing is applied to it until the worker reads again from the stored position."""

    async def body(parts: Parts) -> None:
        await parts.apply(POSTS[:5], None, 5)
        older = {key: await parts.admin.dump(key) async for key in parts.admin.scan_iter()}
        await parts.apply(POSTS[5:10], 5, 10)
        await parts.admin.flushall()
        for key, value in older.items():
            await parts.admin.restore(key, 0, value)
        with pytest.raises(PositionLost, match=r"position 5 .* 10 had been confirmed"):
            await parts.apply(POSTS[10:], 10, 20)
        assert await parts.state() == implied_state(POSTS[:5])
        stored = (await parts.store.positions([SHARD]))[SHARD]["enriched", 0]
        assert await parts.apply(POSTS[stored:], stored, 20) == Applied(first=15, repeats=0)
        assert await parts.state() == implied_state(POSTS)

    run(redis_url, body)


def test_a_full_redis_applies_nothing_and_takes_the_batch_later(redis_url: str) -> None:
    """Out of memory the script stops before its first write; the same call passes once there is room."""

    async def body(parts: Parts) -> None:
        await parts.apply(POSTS[:3], None, 3)
        await parts.admin.config_set("maxmemory", "1")
        try:
            with pytest.raises(StoreUnavailable, match="Redis is full"):
                await parts.apply(POSTS[3:], 3, 20)
        finally:
            await parts.admin.config_set("maxmemory", "0")
        assert await parts.state() == implied_state(POSTS[:3])
        assert (await parts.store.positions([SHARD]))[SHARD] == {("enriched", 0): 3}
        assert await parts.apply(POSTS[3:], 3, 20) == Applied(first=17, repeats=0)
        assert await parts.state() == implied_state(POSTS)

    run(redis_url, body)


def test_a_flushed_script_cache_is_refilled(redis_url: str) -> None:
    """A restart or SCRIPT FLUSH forgets the script; the next batch brings it along."""

    async def body(parts: Parts) -> None:
        await parts.apply(POSTS[:1], None, 1)
        await parts.admin.script_flush()
        assert await parts.apply(POSTS[1:2], 1, 2) == Applied(first=1, repeats=0)

    run(redis_url, body)


def test_a_replica_is_waited_for(redis_url: str) -> None:
    """After a failover the old primary takes no writes: an outage, not the end."""

    async def body(parts: Parts) -> None:
        await parts.apply(POSTS[:1], None, 1)
        await parts.admin.execute_command("REPLICAOF", "127.0.0.1", "1")
        try:
            with pytest.raises(StoreUnavailable, match="primary"):
                await parts.apply(POSTS[1:2], 1, 2)
        finally:
            await parts.admin.execute_command("REPLICAOF", "NO", "ONE")
        assert await parts.apply(POSTS[1:2], 1, 2) == Applied(first=1, repeats=0)

    run(redis_url, body)


def test_a_silent_redis_is_an_outage_within_the_deadline(redis_url: str) -> None:
    """A call ends at its deadline, retry included; the batch is not half applied afterwards."""

    async def body(parts: Parts) -> None:
        await parts.apply(POSTS[:1], None, 1)
        await parts.admin.execute_command("CLIENT", "PAUSE", "700", "ALL")
        with pytest.raises(StoreUnavailable):
            await parts.apply(POSTS[1:2], 1, 2)
        await parts.admin.ping()
        await parts.apply(POSTS[1:2], 1, 2)
        assert await parts.state() == implied_state(POSTS[:2])

    run(redis_url, body, timeout_s=0.3)


def test_an_absent_redis_is_an_outage() -> None:
    """Nobody listens: the message names the address and the setting."""

    async def main() -> None:
        store = AggregateStore(Link("redis://127.0.0.1:1/0", 1.0), settings(), clock())
        with pytest.raises(StoreUnavailable, match=r"127\.0\.0\.1:1 .*POLYVOX_REDIS_URL"):
            await store.check()
        await store.aclose()

    asyncio.run(main())


def test_an_evicting_redis_is_refused(redis_url: str) -> None:
    """It would delete counters without a word; the message gives the command that mends it."""

    async def body(parts: Parts) -> None:
        await parts.admin.config_set("maxmemory-policy", "allkeys-lru")
        try:
            with pytest.raises(ConfigInvalid, match="CONFIG SET maxmemory-policy noeviction"):
                await parts.store.check()
        finally:
            await parts.admin.config_set("maxmemory-policy", "noeviction")
        await parts.store.check()

    run(redis_url, body)


def test_another_key_layout_is_refused(redis_url: str) -> None:
    """An older or newer polyvox wrote this database: migrate or refuse, never mix."""

    async def body(parts: Parts) -> None:
        await parts.store.check()
        assert await parts.admin.get(keys.LAYOUT) == str(keys.LAYOUT_VERSION)
        await parts.admin.set(keys.LAYOUT, keys.LAYOUT_VERSION + 1)
        with pytest.raises(ConfigInvalid, match=f"key layout {keys.LAYOUT_VERSION + 1}"):
            await parts.store.check()

    run(redis_url, body)


def test_a_redis_without_append_only_file_is_warned_about(redis_url: str) -> None:
    """It rolls back further after a crash; polyvox recovers, but the operator should know."""

    async def body(parts: Parts) -> None:
        before = (await parts.admin.config_get("appendonly"))["appendonly"]
        try:
            await parts.admin.config_set("appendonly", "no")
            [warning] = await parts.store.check()
            assert "append-only" in warning
            await parts.admin.config_set("appendonly", "yes")
            assert await parts.store.check() == []
        finally:
            await parts.admin.config_set("appendonly", before)

    run(redis_url, body)


def test_a_managed_redis_that_hides_its_settings_is_warned_about(redis_url: str) -> None:
    """INFO and CONFIG may be forbidden: the rights that docs/redis-layout.md asks for suffice, and the rest is said."""
    where = urlsplit(redis_url)
    via = f"redis://tenant:secret@{where.hostname}:{where.port}/0"

    async def body(parts: Parts) -> None:
        groups = ["+@read", "+@write", "+@scripting", "+@transaction", "+@connection"]
        await parts.admin.acl_setuser(
            "tenant", enabled=True, passwords=["+secret"], keys=["polyvox:*"], categories=groups
        )
        try:
            [warning] = await parts.store.check()
            assert "noeviction" in warning
            assert await parts.apply(POSTS, None, 20) == Applied(first=20, repeats=0)
            assert await parts.state() == implied_state(POSTS)
            assert await parts.store.strike("an-event") == 1
        finally:
            await parts.admin.acl_deluser("tenant")

    run(redis_url, body, via=via)


def test_a_wrong_password_ends_the_process(redis_url: str) -> None:
    """No retry mends it, and the message does not repeat it."""
    where = urlsplit(redis_url)

    async def body(parts: Parts) -> None:
        with pytest.raises(ConfigInvalid) as caught:
            await parts.store.check()
        assert "wr0ng" not in str(caught.value)

    run(redis_url, body, via=f"redis://nobody:wr0ng@{where.hostname}:{where.port}/0")


def test_all_keys_of_a_partition_share_a_slot_and_expire(redis_url: str) -> None:
    """One hash tag for Redis Cluster; a time limit on everything that grows with the posts."""

    async def body(parts: Parts) -> None:
        await parts.apply([*POSTS, dead(30)], None, 21)
        found = [key async for key in parts.admin.scan_iter()]
        of_shard = [key for key in found if key not in {keys.SHARDS, keys.AUTHOR_KEY}]
        assert all(key.startswith(keys.prefix(SHARD) + ":") for key in of_shard)
        lasting = {key.rpartition(":")[2] for key in of_shard if await parts.admin.ttl(key) == -1}
        assert lasting == {"cells", "positions", "totals"}

    run(redis_url, body)


def test_buckets_vanish_with_their_retention(redis_url: str) -> None:
    """Each level is forgotten after its own time, counted from the end of the bucket."""

    async def main() -> None:
        link = Link(redis_url, 5.0)
        now_s = SystemClock().unix_ms() // 1000
        store = AggregateStore(link, settings(retention_minute_s=3600))
        at_s = now_s - 1800
        words = Words(at_s=at_s, author="ann", entities=["Apple"])
        await store.apply(SHARD, Consumed("enriched", 0, None, 1), [post(0, words)])
        kept_s = {"posts:m": (60, 3600), "posts:h": (3600, 35 * 86_400), "posts:d": (86_400, 400 * 86_400)}
        kept_s |= {"authors:m": (60, 3600), "mention_authors:f": (300, 3600), "authors:h": (3600, 2 * 86_400)}
        for kind, (width_s, retention_s) in kept_s.items():
            start_s = at_s // width_s * width_s
            ttl_s = await link.redis.ttl(f"{keys.prefix(SHARD)}:{kind}:{start_s}")
            assert abs(start_s + width_s + retention_s - now_s - ttl_s) < 60
        guard_s = await link.redis.ttl(f"{keys.prefix(SHARD)}:guard:0")
        assert abs(guard_s - settings().guard_retention_s) < 60
        await store.aclose()

    asyncio.run(main())


def test_a_batch_may_hold_more_than_a_script_call_takes(redis_url: str) -> None:
    """Lua unpacks 8,000 values at most: thousands of forms and cells in one batch still count."""

    async def body(parts: Parts) -> None:
        forms = [f"name {i}" for i in range(5000)]
        wide = [post(i, Words(topic=f"topic {i}", entities=forms if i == 0 else ())) for i in range(4500)]
        assert await parts.apply(wide, None, 4500) == Applied(first=4500, repeats=0)
        [point] = await RedisReader(parts.link).form_counts(SHARD, [Bucket("day", NOW_S // 86_400 * 86_400)])
        assert len(point.counts) == 1000
        assert (await parts.state())[SHARD, "mentions"] == 5000

    run(redis_url, body, timeout_s=30.0)
