"""Authors are keyed hashes: one name is one hash under one key, and tells nothing under another."""

from __future__ import annotations

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.opinion_outcomes import NOW_S, SHARD, Words, clock, post, settings
from worker.opinion import keys
from worker.opinion.authors import author_hash
from worker.opinion.cells import Bucket
from worker.opinion.client import Link
from worker.opinion.reader import RedisReader
from worker.opinion.store import AggregateStore, Consumed


@given(st.text(min_size=1), st.binary(max_size=100))
def test_a_hash_is_short_and_its_keys_own(author: str, key: bytes) -> None:
    """Twelve characters that no cell or form can be confused with; other keys give other hashes."""
    found = author_hash(key)(author)
    assert len(found) == 12
    assert keys.parse_author_of_form(keys.author_of_form(found, "a form")) == (found, "a form")
    assert found == author_hash(key)(author) != author_hash(key + b"x")(author)


def test_no_author_has_no_hash() -> None:
    """Posts without an author are nobody's."""
    assert author_hash(b"key")("") == ""


@pytest.mark.integration
@pytest.mark.parametrize("configured", [None, "a secret"])
def test_workers_of_one_installation_agree_and_redis_holds_no_name(redis_url: str, configured: str | None) -> None:
    """Without a setting the first worker makes the key and the next one takes it; names are nowhere."""

    async def main() -> None:
        link = Link(redis_url, 5.0)
        for number in range(2):
            store = AggregateStore(link, settings(author_key=configured), clock())
            words = Words(author="Ann Onymous", entities=["Apple"])
            await store.apply(SHARD, Consumed("enriched", 0, number or None, number + 1), [post(number, words)])
        [authors] = await RedisReader(link).authors(SHARD, [Bucket("hour", NOW_S // 3600 * 3600)])
        [cells] = authors.cells.values()
        assert sum(one.analysed for one in cells.values()) == 2
        everything = ""
        async for key in link.redis.scan_iter():
            if await link.redis.type(key) == "hash":
                everything += f"{key} {await link.redis.hgetall(key)}"
        assert "onymous" not in everything.lower()
        assert bool(await link.redis.exists(keys.AUTHOR_KEY)) == (configured is None)
        await link.aclose()

    asyncio.run(main())
