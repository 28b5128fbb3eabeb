"""What every store of shared answers promises, in memory and in Redis, and what happens when that is hurt."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any
from urllib.parse import urlsplit

import pytest

from tests.unit.test_analysis_seen import BUNDLE, Asked
from tests.unit.test_shared_answers import WINDOW, missed
from worker.errors import ConfigInvalid, StoreUnavailable
from worker.opinion import keys
from worker.opinion.answer_store import AnswerStore, MemoryAnswers, RedisAnswers
from worker.opinion.client import Link
from worker.settings import load_settings
from worker.stream.shared_answers import SharedAnswers
from worker.timing import ManualClock, SystemClock

KEPT_S = 3600
PATIENT_S = 5.0
Opens = Callable[[], AbstractAsyncContextManager[AnswerStore]]


def in_redis(url: str) -> Opens:
    @asynccontextmanager
    async def opens() -> AsyncIterator[AnswerStore]:
        link = Link(url, PATIENT_S)
        try:
            yield RedisAnswers(link, KEPT_S)
        finally:
            await link.aclose()

    return opens


@asynccontextmanager
async def in_memory() -> AsyncIterator[AnswerStore]:
    yield MemoryAnswers()


@pytest.fixture(params=["memory", pytest.param("redis", marks=pytest.mark.integration)])
def opens(request: pytest.FixtureRequest) -> Opens:
    """How to open the store under test, empty."""
    return in_memory if request.param == "memory" else in_redis(request.getfixturevalue("redis_url"))


def test_what_was_put_is_found_in_the_order_of_the_questions(opens: Opens) -> None:
    """Any bytes, also such as are no text; what was not put is None; the last answer to a question counts."""

    async def main() -> None:
        async with opens() as store:
            assert await store.get_many([b"a", b"b"]) == [None, None]
            await store.put_many({b"a": b"\xff\x00\r\n", b"b\0": b"", b"c": bytes(range(256))})
            assert await store.get_many([b"c", b"b", b"b\0", b"a"]) == [bytes(range(256)), None, b"", b"\xff\x00\r\n"]
            await store.put_many({b"a": b"again"})
            assert await store.get_many([b"a", b"a"]) == [b"again", b"again"]

    asyncio.run(main())


def run(url: str, body: Callable[[Link, Any], Awaitable[None]], timeout_s: float = PATIENT_S) -> None:
    """Over a connection with a deadline, and a second one that looks from outside."""

    async def main() -> None:
        link, outside = Link(url, timeout_s), Link(url, PATIENT_S)
        try:
            await body(link, outside.redis)
        finally:
            await link.aclose()
            await outside.aclose()

    asyncio.run(main())


redis_needed = pytest.mark.integration


@redis_needed
def test_workers_of_one_installation_agree_and_redis_tells_no_text(redis_url: str) -> None:
    """The first makes the secret, the next takes it; names are hashes of another kind in another installation."""

    async def body(link: Link, admin: Any) -> None:
        names = []
        for _ in range(2):
            await RedisAnswers(link, KEPT_S).put_many({b"the question": b"the answer"})
            assert await RedisAnswers(link, KEPT_S).get_many([b"the question"]) == [b"the answer"]
            [name] = [key async for key in admin.scan_iter(keys.answer("*"))]
            assert 0 < await admin.ttl(name) <= KEPT_S
            assert {key async for key in admin.scan_iter()} == {name, keys.ANSWERS_KEY}
            names.append(name)
            await admin.flushall()
        assert "question" not in str(names)
        assert names[0] != names[1]

    run(redis_url, body)


@redis_needed
def test_an_answer_comes_back_from_redis_bit_by_bit(redis_url: str) -> None:
    """Two workers, one Redis: the model is asked once."""

    async def body(link: Link, _admin: Any) -> None:
        asked, found = Asked(), []
        for _ in range(2):
            shared = SharedAnswers(RedisAnswers(link, KEPT_S), BUNDLE, SystemClock())
            found.append((await shared.answers([WINDOW], asked))[0])
        assert len(asked.windows) == 1
        for name in ("sentiment", "topic", "tags", "token_sentiment"):
            first, second = (getattr(answer, name) for answer in found)
            assert (first.shape, first.tobytes()) == (second.shape, second.tobytes())

    run(redis_url, body)


@redis_needed
def test_a_foreign_value_is_unknown(redis_url: str) -> None:
    """A value of another kind or content under an answer's key: asked anew and overwritten, no error."""

    async def body(link: Link, admin: Any) -> None:
        asked, before = Asked(), missed("broken")
        for step in range(4):
            shared = SharedAnswers(RedisAnswers(link, KEPT_S), BUNDLE, SystemClock())
            await shared.answers([WINDOW], asked)
            assert len(asked.windows) == (1, 2, 3, 3)[step]
            [name] = [key async for key in admin.scan_iter(keys.answer("*"))]
            if step == 0:
                await admin.set(name, "foreign")
            if step == 1:
                await admin.delete(name)
                await admin.lpush(name, "foreign")
        assert missed("broken") == before + 1

    run(redis_url, body)


@redis_needed
def test_a_redis_short_of_memory_keeps_no_answers(redis_url: str) -> None:
    """From four fifths on the rest is the counters'; known answers are found, by a new process too."""

    async def body(link: Link, admin: Any) -> None:
        clock = ManualClock()
        store = RedisAnswers(link, KEPT_S, clock)
        await store.put_many({b"a": b"known"})
        used_bytes = (await admin.info("memory"))["used_memory"]
        try:
            await admin.config_set("maxmemory", int(used_bytes / 0.85))
            await store.put_many({b"b": b"it had room a moment ago"})
            clock.advance(60)
            with pytest.raises(StoreUnavailable, match="POLYVOX_SHARED_ANSWERS_S"):
                await store.put_many({b"c": b"no room"})
            await admin.config_set("maxmemory", 10 * used_bytes)
            await store.put_many({b"c": b"room again"})
        finally:
            await admin.config_set("maxmemory", "0")
        known = [b"known", b"it had room a moment ago", b"room again"]
        assert await RedisAnswers(link, KEPT_S).get_many([b"a", b"b", b"c"]) == known

    run(redis_url, body)


@redis_needed
def test_a_full_redis_takes_no_answer_and_still_gives_them(redis_url: str) -> None:
    """The refusal is ours and holds nothing of the value; a process that starts then finds what is there."""

    async def body(link: Link, admin: Any) -> None:
        store = RedisAnswers(link, KEPT_S, ManualClock())
        await store.put_many({b"a": b"known"})
        await admin.config_set("maxmemory", "1")
        try:
            with pytest.raises(StoreUnavailable, match="Redis is full") as refused:
                await store.put_many({b"b": b"confidential"})
            assert "confidential" not in str(refused.value)
            assert await RedisAnswers(link, KEPT_S).get_many([b"a", b"b"]) == [b"known", None]
        finally:
            await admin.config_set("maxmemory", "0")

    run(redis_url, body)


@redis_needed
def test_a_silent_redis_is_given_up_and_mixes_up_no_replies(redis_url: str) -> None:
    """A call ends at its deadline; the reply that comes after it is nobody's answer."""

    async def body(link: Link, admin: Any) -> None:
        store = RedisAnswers(link, KEPT_S)
        await store.put_many({b"a": b"of a", b"b": b"of b"})
        await admin.execute_command("CLIENT", "PAUSE", "700", "ALL")
        for question in (b"a", b"b"):
            with pytest.raises(StoreUnavailable):
                await store.get_many([question])
        with pytest.raises(StoreUnavailable):
            await store.put_many({b"c": b"of c"})
        await admin.ping()
        assert await store.get_many([b"b"]) == [b"of b"]
        assert await store.get_many([b"a"]) == [b"of a"]

    run(redis_url, body, timeout_s=0.1)


def test_an_absent_redis_is_a_miss() -> None:
    """Nobody listens: the model answers."""

    async def main() -> None:
        asked = Asked()
        link = RedisAnswers.link_of(load_settings(redis_url="redis://127.0.0.1:1/0"))
        await SharedAnswers(RedisAnswers(link, KEPT_S), BUNDLE, SystemClock()).answers([WINDOW], asked)
        assert len(asked.windows) == 1
        await link.aclose()

    asyncio.run(main())


@redis_needed
def test_the_documented_rights_suffice(redis_url: str) -> None:
    """Those of docs/redis-layout.md, without `info`: how full it is cannot be told then; fewer are a miss, no error."""
    where = urlsplit(redis_url)
    tenant = f"redis://tenant:secret@{where.hostname}:{where.port}/0"

    async def body(_link: Link, admin: Any) -> None:
        groups = ["+@read", "+@write", "+@scripting", "+@transaction", "+@connection"]
        await admin.acl_setuser("tenant", enabled=True, passwords=["+secret"], keys=["polyvox:*"], categories=groups)
        link = Link(tenant, PATIENT_S)
        try:
            store = RedisAnswers(link, KEPT_S)
            await store.put_many({b"a": b"known"})
            assert await store.get_many([b"a"]) == [b"known"]
            await admin.acl_setuser("tenant", enabled=True, categories=["-@write"])
            with pytest.raises(ConfigInvalid, match=r"docs/redis-layout\.md"):
                await store.put_many({b"b": b"refused"})
        finally:
            await link.aclose()
            await admin.acl_deluser("tenant")

    run(redis_url, body)
