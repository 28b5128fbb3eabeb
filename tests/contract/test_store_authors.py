"""What every store promises about authors in minutes, and of mentions in five; over memory and Redis."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Mapping, Sequence

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from tests.contract.test_store import Opened, Opens, opens, run
from tests.opinion_outcomes import NOW_S, SHARD, Words, clock, post, settings
from tests.unit.test_opinion_queries import window
from worker.alerts.aggregates import AggregateWindows
from worker.opinion.answers import Where
from worker.opinion.authors import author_hash
from worker.opinion.cells import Bucket, Cell, Measures, Outcome
from worker.opinion.client import Link
from worker.opinion.memory import MemoryStore
from worker.opinion.queries import Queries
from worker.opinion.reader import Forms, Reader, RedisReader
from worker.opinion.shifts.words import Span
from worker.opinion.store import AggregateStore, Consumed, Store

__all__ = ["opens"]
FIVE_S = (NOW_S - 300) // 300 * 300
MINUTES = [Bucket("minute", FIVE_S + 60 * number) for number in range(5)]
CELL = Cell("social", "en", "medtop:04000000", "analyzer:1.0.0+aaaaaaaa")
LABELS_OF_THREE = Measures(positive=3)
KEY = "a key"


def test_authors_count_in_their_minute_and_mentions_in_five(opens: Opens) -> None:
    """By cell and by form, in one list however many batches; the labels alone, under the hour's hashes."""

    async def body(opened: Opened) -> None:
        by_ann = [post(i, Words(author="ann", at_s=FIVE_S + i, entities=["Apple"])) for i in range(3)]
        await opened.apply(by_ann[:2], None, 2)
        other = post(3, Words(author="ann", at_s=FIVE_S + 60, entities=["Apple", "Pear"]))
        await opened.apply([by_ann[2], other, post(4, Words(at_s=FIVE_S))], 2, 5)
        first, second, *empty = await opened.reader.authors(SHARD, MINUTES)
        assert [*first.cells.values()] == [{CELL: LABELS_OF_THREE}]
        assert [*second.cells.values()] == [{CELL: Measures(positive=1)}]
        assert all(not forms.cells for forms in empty)
        [of_forms] = await opened.reader.mention_authors(SHARD, [Bucket("five_minutes", FIVE_S)], ["org:Apple"])
        assert [*of_forms["org:Apple"].cells.values()] == [{CELL.of_form: Measures(positive=4)}]
        [of_hour] = await opened.reader.authors(SHARD, [Bucket("hour", FIVE_S // 3600 * 3600)])
        assert of_hour.cells.keys() == first.cells.keys() == second.cells.keys() == of_forms["org:Apple"].cells.keys()

    run(opens, body)


def test_lists_of_minutes_have_a_limit_of_their_own(opens: Opens) -> None:
    """A loud author stays in a minute that trims its list, the loss is told, and the hour still has everybody."""

    async def body(opened: Opened) -> None:
        outcomes = [
            post(i, Words(author="loud" if i % 3 == 0 else f"author {i}", at_s=FIVE_S, entities=["Apple"]))
            for i in range(60)
        ]
        for start in range(0, 60, 6):
            await opened.apply(outcomes[start : start + 6], start or None, start + 6)
        [minute] = await opened.reader.authors(SHARD, MINUTES[:1])
        [five] = await opened.reader.mention_authors(SHARD, [Bucket("five_minutes", FIVE_S)], ["org:Apple"])
        for found in (minute, five["org:Apple"]):
            counts = sorted(sum(one.analysed for one in cells.values()) for cells in found.cells.values())
            assert len(counts) <= 8
            assert counts[-1] == 20
            assert found.lost >= 1
        [hour] = await opened.reader.authors(SHARD, [Bucket("hour", FIVE_S // 3600 * 3600)])
        assert (len(hour.cells), hour.lost) == (41, 0)

    run(opens, body, authors_per_minute=8)


def test_who_gets_loud_stays(opens: Opens) -> None:
    """What is trimmed is the fewest posts after a batch, not before it."""

    async def body(opened: Opened) -> None:
        outcomes = [post(i, Words(author=name, at_s=FIVE_S, language=name * 2)) for i, name in enumerate("abbcaaa")]
        await opened.apply(outcomes[:3], None, 3)
        await opened.apply(outcomes[3:], 3, 7)
        [minute] = await opened.reader.authors(SHARD, MINUTES[:1])
        [cells] = minute.cells.values()
        assert {cell.language: measures.analysed for cell, measures in cells.items()} == {"aa": 4}
        assert minute.lost == 2

    run(opens, body, authors_per_minute=2)


def test_five_minutes_cap_a_loud_author_to_his_share(opens: Opens) -> None:
    """Half of a window's posts, over all its minutes: to answers and to detectors he is a tenth, and one cluster."""

    async def body(opened: Opened) -> None:
        times = [FIVE_S + 3 * number for number in range(100)]
        outcomes = [
            post(i, Words(at_s=at_s, label="negative", author="loud", entities=["Apple"]))
            if i % 2
            else post(i, Words(at_s=at_s, author=f"author {i}", entities=["Apple"]))
            for i, at_s in enumerate(times)
        ]
        for start in range(0, 100, 20):
            await opened.apply(outcomes[start : start + 20], start or None, start + 20)
        chosen = settings(author_max_share=0.1)
        queries = Queries(opened.reader, chosen, clock())
        [posts] = await queries.tallies(window("five_minutes", FIVE_S, FIVE_S + 300))
        [mentions] = await queries.tallies(window("five_minutes", FIVE_S, FIVE_S + 300), Where(entity="org:Apple"))
        read = await AggregateWindows(opened.reader, chosen, clock()).read(Span(FIVE_S, FIVE_S + 300))
        assert (posts.authors_capped, posts.author_can_hide) == (1, 0)
        assert (mentions.authors_capped, mentions.author_can_hide) == (1, 0)
        assert (read.posts, read.entities) == (posts.cells, {"org:Apple": mentions.cells})
        for tally in (posts.cells[CELL], mentions.cells[CELL.of_form]):
            assert (tally.negative, tally.positive) == (pytest.approx(10), 50)
            assert tally.cluster_squares == pytest.approx(50 + 10**2)

    run(opens, body)


WORDS = st.builds(
    Words,
    at_s=st.sampled_from([FIVE_S, FIVE_S + 60]),
    label=st.sampled_from(["negative", "neutral", "positive"]),
    author=st.sampled_from([None, *"abcdefgh"]),
    copy_of=st.sampled_from([None, "a story"]),
    language=st.sampled_from(["en", "de"]),
    entities=st.lists(st.sampled_from(["Apple", "Berlin"]), max_size=2),
)


async def applied(store: Store, outcomes: Sequence[Outcome], size: int) -> None:
    for start in range(0, len(outcomes), size):
        batch = outcomes[start : start + size]
        await store.apply(SHARD, Consumed("enriched", 0, start or None, start + len(batch)), batch)


async def lists(reader: Reader) -> list[Forms]:
    """The authors of two minutes, and of the mentions of two forms in five."""
    [of_forms] = await reader.mention_authors(SHARD, [Bucket("five_minutes", FIVE_S)], ["org:Apple", "org:Berlin"])
    return [*await reader.authors(SHARD, MINUTES[:2]), *of_forms.values()]


def wrote(outcomes: Sequence[Outcome]) -> list[Counter[str]]:
    """How much each author wrote, as `lists` has it."""
    counts: list[Counter[str]] = [Counter() for _ in range(4)]
    named = author_hash(KEY.encode())
    for outcome in outcomes:
        assert outcome.event is not None
        author = named(outcome.event.post.author or "")
        if author:
            counts[int(outcome.event.event_time.timestamp() - FIVE_S) // 60][author] += 1
            for entity in outcome.event.entities:
                counts[2 + ("org:Apple", "org:Berlin").index(entity.id or "")][author] += 1
    return counts


def labels_of(cells: Mapping[Cell, Measures]) -> Counter[tuple[Cell, int]]:
    return Counter({(cell, label): count for cell, found in cells.items() for label, count in enumerate(found[:4])})


@given(words=st.lists(WORDS, max_size=40), size=st.integers(1, 12), limit=st.integers(1, 6))
def test_what_is_listed_never_exceeds_the_cells(words: Sequence[Words], size: int, limit: int) -> None:
    """Whatever is trimmed: by cell and label at most what the minute holds, of each author at most what he wrote."""

    async def main() -> None:
        store = MemoryStore(settings(authors_per_minute=limit, author_key=KEY), clock())
        outcomes = [post(offset, each) for offset, each in enumerate(words)]
        await applied(store, outcomes, size)
        listed = await lists(store)
        for posts, forms in zip(await store.posts(SHARD, MINUTES[:2]), listed[:2], strict=True):
            assert sum((labels_of(cells) for cells in forms.cells.values()), Counter()) <= labels_of(posts.cells)
        for forms, counts in zip(listed, wrote(outcomes), strict=True):
            for author, count in counts.items():
                found = sum(measures.analysed for measures in forms.cells.get(author, {}).values())
                assert found <= count <= found + forms.lost

    asyncio.run(main())


@pytest.mark.parametrize("size", [1, 10, 100])
def test_who_exceeds_the_default_share_is_never_lost(size: int) -> None:
    """One post in 19, after 15 others who write as much, among many who write once: the minute has all his posts."""

    async def main() -> None:
        store = MemoryStore(settings(author_key=KEY), clock())
        names = [
            f"rival {i % 19}" if i % 19 < 15 else "loud" if i % 19 == 15 else f"author {i}" for i in range(19 * 50)
        ]
        await applied(store, [post(i, Words(author=name, at_s=FIVE_S)) for i, name in enumerate(names)], size)
        [minute] = await store.authors(SHARD, MINUTES[:1])
        assert minute.cells[author_hash(KEY.encode())("loud")] == {CELL: Measures(positive=50)}

    asyncio.run(main())


@pytest.mark.integration
@given(words=st.lists(WORDS, max_size=40), size=st.integers(1, 12), limit=st.integers(1, 6))
@hypothesis_settings(max_examples=20, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_both_stores_trim_alike(redis_url: str, words: Sequence[Words], size: int, limit: int) -> None:
    """The same batches give the same lists in memory and in Redis, so what holds of one holds of the other."""

    async def main() -> None:
        link, chosen = Link(redis_url, 5.0), settings(authors_per_minute=limit, author_key=KEY)
        await link.redis.flushall()
        memory, outcomes = MemoryStore(chosen, clock()), [post(offset, each) for offset, each in enumerate(words)]
        await applied(memory, outcomes, size)
        await applied(AggregateStore(link, chosen, clock()), outcomes, size)
        assert await lists(RedisReader(link)) == await lists(memory)
        await link.aclose()

    asyncio.run(main())
