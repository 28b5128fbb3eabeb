"""What every index of stories promises; run over the one in memory and the one in Redis."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from itertools import pairwise

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from tests.opinion_outcomes import clock, settings
from worker.opinion import keys
from worker.opinion.client import Link
from worker.opinion.stories import GENERATIONS, Candidate, Decision, MemoryStories, RedisStories, StoryIndex
from worker.timing import ManualClock, SystemClock

Opens = Callable[[], AbstractAsyncContextManager[StoryIndex]]


def in_redis(url: str) -> Opens:
    @asynccontextmanager
    async def opens() -> AsyncIterator[StoryIndex]:
        link = Link(url, 5.0)
        try:
            yield RedisStories(link, settings(), clock())
        finally:
            await link.aclose()

    return opens


@asynccontextmanager
async def in_memory() -> AsyncIterator[StoryIndex]:
    yield MemoryStories()


@pytest.fixture(params=["memory", pytest.param("redis", marks=pytest.mark.integration)])
def opens(request: pytest.FixtureRequest) -> Opens:
    """How to open the index under test, empty."""
    return in_memory if request.param == "memory" else in_redis(request.getfixturevalue("redis_url"))


def run(opens: Opens, body: Callable[[StoryIndex], Awaitable[None]]) -> None:
    async def main() -> None:
        async with opens() as index:
            await body(index)

    asyncio.run(main())


def candidate(number: int, bands: Sequence[int] = (), *, post_id: str | None = None, needed: int = 3) -> Candidate:
    return Candidate(f"{number:032x}", post_id or f"post {number}", tuple(bands), needed)


FIRST = Decision(f"{1:032x}", "first")
COPY = Decision(f"{1:032x}", "copy")


def test_enough_equal_bands_make_a_copy(opens: Opens) -> None:
    """Three of its bands, wherever they stand in a bundle or in a later one; two are not enough."""

    async def body(index: StoryIndex) -> None:
        posts = [candidate(1, range(12)), candidate(2, [0, 1, 2, 33, 34]), candidate(3, [4, 5, 40, 41])]
        assert await index.decide(posts) == [FIRST, COPY, Decision(f"{3:032x}", "first")]
        assert await index.decide([candidate(4, [9, 10, 11])]) == [COPY]

    run(opens, body)


def test_a_repeated_post_id_makes_a_copy_whatever_the_text(opens: Opens) -> None:
    """A publisher that edits a post publishes the same id again."""

    async def body(index: StoryIndex) -> None:
        posts = [candidate(1, range(12), post_id="a"), candidate(2, range(50, 62), post_id="a"), candidate(3)]
        assert await index.decide(posts) == [FIRST, COPY, Decision(f"{3:032x}", "first")]
        assert await index.decide([candidate(4, post_id="a")]) == [COPY]

    run(opens, body)


def test_a_short_text_needs_its_only_band(opens: Opens) -> None:
    """Equal short texts are copies; a text without bands is a copy of nothing."""

    async def body(index: StoryIndex) -> None:
        posts = [candidate(1, [7], needed=1), candidate(2, [7], needed=1), candidate(3), candidate(4)]
        assert [one.kind for one in await index.decide(posts)] == ["first", "copy", "first", "first"]

    run(opens, body)


def test_a_story_does_not_drift_from_copy_to_copy(opens: Opens) -> None:
    """What only resembles a copy is another story: the first post is what all are compared with."""

    async def body(index: StoryIndex) -> None:
        posts = [candidate(1, range(6)), candidate(2, range(3, 9)), candidate(3, range(6, 12))]
        assert [one.kind for one in await index.decide(posts)] == ["first", "copy", "first"]

    run(opens, body)


def test_the_story_with_most_bands_wins_and_the_older_of_two(opens: Opens) -> None:
    """A post between two stories belongs to the nearer one, and always to the same."""

    async def body(index: StoryIndex) -> None:
        await index.decide([candidate(1, range(6)), candidate(2, range(10, 16))])
        mixed = [candidate(3, [0, 1, 2, 10, 11, 12]), candidate(4, [0, 1, 2, 10, 11, 12, 13])]
        assert await index.decide(mixed) == [COPY, Decision(f"{2:032x}", "copy")]

    run(opens, body)


POSTS = st.lists(
    st.builds(
        candidate,
        st.integers(1, 12),
        st.lists(st.integers(0, 20), max_size=8, unique=True),
        post_id=st.sampled_from([None, "a", "b"]),
        needed=st.sampled_from([1, 3]),
    ),
    min_size=1,
    max_size=14,
    unique_by=lambda post: post.event_id,
)


@given(posts=POSTS, cuts=st.lists(st.integers(0, 14), max_size=3), again=st.lists(st.integers(0, 13), max_size=6))
@hypothesis_settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@pytest.mark.integration
def test_asking_again_gives_the_same_answer(
    redis_url: str, posts: list[Candidate], cuts: list[int], again: list[int]
) -> None:
    """In any bundles, read again from anywhere after a crash: the first answer stands; both indexes agree on it."""

    async def main() -> None:
        link = Link(redis_url, 5.0)
        await link.redis.flushall()
        answers = []
        for index in (RedisStories(link, settings(), clock()), MemoryStories()):
            bounds = sorted({0, len(posts), *(cut for cut in cuts if cut < len(posts))})
            found = [one for start, end in pairwise(bounds) for one in await index.decide(posts[start:end])]
            for place in again:
                if place < len(posts):
                    assert await index.decide(posts[place:]) == found[place:]
            answers.append(found)
        await link.aclose()
        assert answers[0] == answers[1]

    asyncio.run(main())


@pytest.mark.integration
def test_a_story_is_remembered_for_its_retention_after_its_last_copy(redis_url: str) -> None:
    """It lives while copies come; afterwards it is forgotten, and every key has its end."""

    async def main() -> None:
        link, now = Link(redis_url, 5.0), ManualClock(clock().now_s)
        chosen = settings(story_retention_s=7200)
        index = RedisStories(link, chosen, now)
        assert await index.decide([candidate(1, range(12))]) == [FIRST]
        for number in range(2, 6):
            now.advance(3600)
            assert await index.decide([candidate(number, range(12))]) == [COPY]
        now.advance(7200)
        assert (await index.decide([candidate(9, range(12))]))[0].kind == "first"
        lasting = [name async for name in link.redis.scan_iter() if await link.redis.ttl(name) == -1]
        assert lasting == [f"{keys.STORIES}:numbers"]
        newest = int(now.now_s) // 3600
        ends_s = SystemClock().unix_ms() // 1000 + await link.redis.ttl(f"{keys.STORIES}:{newest}:entries")
        assert abs(ends_s - (newest + GENERATIONS) * 3600) < 60
        await link.aclose()

    asyncio.run(main())


@pytest.mark.integration
def test_a_full_index_makes_posts_stories_of_their_own(redis_url: str) -> None:
    """Memory is bounded: past the limit nothing is remembered, what is known is still recognised, and it is told."""

    async def main() -> None:
        link = Link(redis_url, 5.0)
        index = RedisStories(link, settings(story_index_entries=20), clock())
        many = [candidate(number, range(number * 20, number * 20 + 12)) for number in range(1, 6)]
        assert [one.kind for one in await index.decide(many)] == ["first", "first", *["unindexed"] * 3]
        assert await index.decide([candidate(7, range(20, 32))]) == [COPY]
        assert (await index.decide([many[4]]))[0] == Decision(many[4].event_id, "unindexed")
        await link.aclose()

    asyncio.run(main())
