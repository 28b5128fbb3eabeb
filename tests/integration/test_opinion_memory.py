"""What a post costs in Redis, beside what docs/redis-layout.md states."""

from __future__ import annotations

import asyncio

import pytest

from tests.opinion_mix import apply_mixed, bytes_by_kind
from tests.opinion_outcomes import settings
from worker.opinion.client import Link
from worker.opinion.stories import Candidate, RedisStories

pytestmark = pytest.mark.integration

POSTS = 8_000
STATED_BYTES = {4.0: 850, 50.0: 740}
"""For so few posts a second, of a run of `POSTS`: more than over days, since small keys are mostly overhead."""
STORY_BYTES = 1_400
"""Of 8,000 posts in 65,536 hashes; 203 of 200,000."""


@pytest.mark.parametrize("posts_per_s", STATED_BYTES)
def test_a_post_takes_no_more_memory_than_stated(redis_url: str, posts_per_s: float) -> None:
    """A realistic mix at a slow and a fast rate: the bytes of all keys, and authors and samples are not most of it."""

    async def main() -> None:
        link = Link(redis_url, 30.0)
        used = await apply_mixed(link, POSTS, posts_per_s)
        kinds = await bytes_by_kind(link)
        await link.aclose()
        assert used / POSTS <= STATED_BYTES[posts_per_s]
        details = sum(size for kind, size in kinds.items() if kind in DETAILS)
        assert set(DETAILS) <= set(kinds)
        assert details < sum(kinds.values()) / 2

    asyncio.run(main())


DETAILS = ("authors:m", "authors:h", "mention_authors:f", "mention_authors:h", "samples:h", "form_samples:h")


def test_the_index_of_stories_is_bounded(redis_url: str) -> None:
    """What it takes a post, and that a full one takes no more."""

    async def main() -> None:
        link = Link(redis_url, 30.0)
        index = RedisStories(link, settings(story_index_entries=14 * POSTS))
        before = (await link.redis.info("memory"))["used_memory"]
        sizes = []
        for start in (0, POSTS):
            for number in range(start, start + POSTS, 500):
                await index.decide([_new(each) for each in range(number, number + 500)])
            sizes.append((await link.redis.info("memory"))["used_memory"] - before)
        await link.aclose()
        assert sizes[0] / POSTS <= STORY_BYTES
        assert sizes[1] <= sizes[0] * 1.05

    asyncio.run(main())


def _new(number: int) -> Candidate:
    """A post that shares no band with any other."""
    return Candidate(
        f"{number:032x}", f"p{number}", tuple(number * 7919**3 + band * 104_729**3 for band in range(12)), 3
    )
