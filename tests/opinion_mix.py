"""A realistic mix of outcomes, and what Redis spends on it, by kind of key."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterator
from itertools import accumulate
from typing import Any

from tests.opinion_outcomes import NOW_S, Words, clock, post, settings
from worker.opinion.cells import Outcome
from worker.opinion.client import Link
from worker.opinion.store import AggregateStore, Consumed

SHARDS = [f"topic-a:{partition}" for partition in range(4)]
NAMES, AUTHORS = 200_000, 100_000
BATCH = 512


class Zipf:
    """Ranks with shares 1 / rank."""

    def __init__(self, count: int, random_: random.Random) -> None:
        self._sums = list(accumulate(1 / rank for rank in range(1, count + 1)))
        self._random = random_

    def draw(self) -> int:
        return self._random.choices(range(len(self._sums)), cum_weights=self._sums)[0]


def mixed(count: int, posts_per_s: float) -> Iterator[tuple[str, list[Outcome]]]:
    """Batches of posts in order of event time, up to now.

    20 languages, 22 topics, 2 source classes, 1.5 mentions a post, 100,000 authors, a fifth of the posts copies.
    """
    rng = random.Random(1)
    names, authors, topics, languages = (Zipf(size, rng) for size in (NAMES, AUTHORS, 22, 20))
    waiting: dict[str, list[Outcome]] = {shard: [] for shard in SHARDS}
    for number in range(count):
        shard = SHARDS[number % len(SHARDS)]
        words = Words(
            at_s=NOW_S - (count - number) / posts_per_s,
            language="a" + chr(ord("a") + languages.draw()),
            topic=f"medtop:{topics.draw():08}",
            source_class="social" if rng.random() < 0.8 else "financial",
            label=rng.choice(["negative", "neutral", "positive"]),
            author=f"author {authors.draw()}",
            copy_of="a story" if rng.random() < 0.2 else None,
            entities=[f"some name {names.draw()}" for _ in range(rng.choice([1, 2]))],
        )
        waiting[shard].append(post(number // len(SHARDS), words, shard=shard))
        if len(waiting[shard]) == BATCH:
            yield shard, waiting[shard]
            waiting[shard] = []
    yield from ((shard, rest) for shard, rest in waiting.items() if rest)


async def apply_mixed(link: Link, count: int, posts_per_s: float) -> int:
    """Count a mix in an empty Redis; the bytes that it takes."""
    store = AggregateStore(link, settings(), clock())
    before = (await link.redis.info("memory"))["used_memory"]
    read: Counter[str] = Counter()
    for shard, outcomes in mixed(count, posts_per_s):
        upto = read[shard] + len(outcomes)
        await store.apply(shard, Consumed("enriched", 0, read[shard] or None, upto), outcomes)
        read[shard] = upto
    return int((await link.redis.info("memory"))["used_memory"]) - int(before)


async def bytes_by_kind(link: Link) -> dict[str, int]:
    """What MEMORY USAGE says, summed by the middle of the keys, such as `forms:f`."""
    found: Counter[str] = Counter()
    redis: Any = link.redis
    async for key in redis.scan_iter("polyvox:*", count=1000):
        kind = ":".join(str(key).partition("}:")[2].split(":")[:2])
        found[kind if kind[-1:].isalpha() else kind.partition(":")[0]] += await redis.memory_usage(key, samples=0)
    return dict(found)
