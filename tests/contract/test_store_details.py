"""What every store promises about authors and sample posts; run over the store in memory and the one in Redis."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from tests.contract.test_store import NOW, TODAY, Opened, Opens, opens, run
from tests.opinion_outcomes import (
    NOW_S,
    SHARD,
    Words,
    buckets_around,
    clock,
    exact_state,
    implied_state,
    position,
    post,
    settings,
)
from worker.opinion.answers import Where, Window
from worker.opinion.cells import Bucket, Cell, Outcome, Sample
from worker.opinion.client import Link
from worker.opinion.memory import MemoryStore
from worker.opinion.queries import Queries
from worker.opinion.reader import Reader, RedisReader
from worker.opinion.store import AggregateStore, Consumed

__all__ = ["opens"]
FORMS = ("org:Apple", "org:Berlin")
HOUR = Bucket("hour", NOW_S // 3600 * 3600)
THIS_HOUR = Window("hour", NOW, NOW)


def test_a_flood_of_copies_moves_each_story_once_by_one_post(opens: Opens) -> None:
    """A thousand copies of one post: all copies counts a thousand and one, each story once counts one."""
    flood = [post(0), *(post(i, Words(copy_of=position(0).event_id, entities=["Apple"])) for i in range(1, 1001))]

    async def body(opened: Opened) -> None:
        await opened.apply([*flood, post(2000, Words(label="negative"))], None, 2001)
        queries = Queries(opened.reader, settings(), clock())
        [point] = await queries.series(TODAY)
        assert (point.each_story_once.positive, point.measures.positive) == (1, 1001)
        assert (point.each_story_once.net_sentiment, point.completeness.copies) == (0.0, 1000)
        [mentions] = await queries.series(TODAY, Where(entity="org:Apple"))
        assert (mentions.each_story_once.analysed, mentions.measures.analysed) == (0, 1000)
        assert (await queries.totals()).copies == 1000

    run(opens, body)


def test_authors_are_counted_by_hashes_alone(opens: Opens) -> None:
    """By hour, cell and form; nobody's name is stored, and one name is one hash in every batch."""

    async def body(opened: Opened) -> None:
        by_ann = [post(i, Words(author="ann", entities=["Apple"])) for i in range(3)]
        await opened.apply(by_ann[:2], None, 2)
        await opened.apply([by_ann[2], post(3, Words(author="bob")), post(4)], 2, 5)
        [authors] = await opened.reader.authors(SHARD, [HOUR])
        assert sorted(sum(one.analysed for one in cells.values()) for cells in authors.cells.values()) == [1, 3]
        assert all(len(name) == 12 for name in authors.cells)
        [of_forms] = await opened.reader.mention_authors(SHARD, [HOUR], ["org:Apple", "org:Pear"])
        [(name, cells)] = of_forms["org:Apple"].cells.items()
        assert name in authors.cells
        assert sum(one.positive for one in cells.values()) == 3
        assert of_forms["org:Pear"].cells == {}

    run(opens, body)


def test_lists_of_authors_are_bounded_and_never_overcount(opens: Opens) -> None:
    """Over the limit those with fewest posts go: a loud author stays, and the loss is told."""

    async def body(opened: Opened) -> None:
        outcomes = [post(i, Words(author="loud" if i % 2 else f"author {i}")) for i in range(60)]
        for start in range(0, 60, 6):
            await opened.apply(outcomes[start : start + 6], start or None, start + 6)
        [authors] = await opened.reader.authors(SHARD, [HOUR])
        counts = sorted(sum(one.analysed for one in cells.values()) for cells in authors.cells.values())
        assert len(counts) <= 8
        assert counts[-1] == 30
        assert authors.lost >= 1

    run(opens, body, authors_per_window=8)


def test_samples_are_the_lowest_priorities_in_any_order(opens: Opens) -> None:
    """Eight posts of a cell and of a form, the same ones however the batches came; a resolved one by its original."""
    outcomes = [post(i, Words(label="negative" if i % 2 else "positive", entities=["Apple"])) for i in range(40)]

    async def body(opened: Opened) -> None:
        backwards = list(reversed(outcomes))
        for start in range(0, 40, 7):
            await opened.apply(backwards[start : start + 7], start or None, start + 7)
        lowest = sorted((int(one.position.event_id[:8], 16), one.position.offset) for one in outcomes)[:8]
        wanted = [Sample(priority, offset, "negative" if offset % 2 else "positive") for priority, offset in lowest]
        [samples] = await opened.reader.samples(SHARD, [HOUR])
        cell = Cell("social", "en", "medtop:04000000", "analyzer:1.0.0+aaaaaaaa")
        assert samples == {cell: wanted}
        assert await opened.reader.form_samples(SHARD, [HOUR], "org:Apple") == [wanted]
        refs = await Queries(opened.reader, settings(), clock()).drill_down(THIS_HOUR, Where(entity="org:Apple"), 3)
        assert [(ref.event_id, ref.offset) for ref in refs.posts] == [
            (position(offset).event_id, offset) for _, offset in lowest[:3]
        ]

    run(opens, body)


def test_samples_of_forms_go_with_their_forms(opens: Opens) -> None:
    """They are bounded as forms are: a name that lost its counts has no samples either."""

    async def body(opened: Opened) -> None:
        outcomes = [post(i, Words(entities=["Apple", f"Rare {i}"])) for i in range(30)]
        for start in range(0, 30, 5):
            await opened.apply(outcomes[start : start + 5], start or None, start + 5)
        [forms] = await opened.reader.form_counts(SHARD, [HOUR])
        sampled = [i for i in range(30) if (await opened.reader.form_samples(SHARD, [HOUR], f"org:Rare {i}"))[0]]
        assert sampled == [i for i in range(30) if f"org:Rare {i}" in forms.counts]

    run(opens, body, entity_forms_per_window=8)


def test_details_of_old_hours_are_not_made(opens: Opens) -> None:
    """A post that comes when its authors are forgotten counts in the hour, and makes no key that would stay."""

    async def body(opened: Opened) -> None:
        await opened.apply([post(0, Words(author="ann", at_s=NOW_S - 3 * 86_400))], None, 1)
        hour = Bucket("hour", (NOW_S - 3 * 86_400) // 3600 * 3600)
        assert (await opened.reader.authors(SHARD, [hour]))[0].cells == {}
        assert await opened.reader.samples(SHARD, [hour]) == [{}]
        [posts] = await opened.reader.posts(SHARD, [hour])
        assert len(posts.cells) == 1

    run(opens, body)


WORDS = st.builds(
    Words,
    at_s=st.sampled_from([NOW_S - 30, NOW_S - 3600]),
    label=st.sampled_from(["negative", "neutral", "positive"]),
    author=st.sampled_from([None, "ann", "bob"]),
    copy_of=st.sampled_from([None, "a story"]),
    entities=st.lists(st.sampled_from(["Apple", "Berlin"]), max_size=2),
)


async def details(reader: Reader) -> list[object]:
    """All that is kept of authors and samples; authors by what they wrote, since keys differ."""
    hours = [HOUR, Bucket("hour", HOUR.start_s - 3600)]
    authors = await reader.authors(SHARD, [*hours, *buckets_around("minute")])
    for of_forms in await reader.mention_authors(SHARD, [*hours, *buckets_around("five_minutes")], FORMS):
        authors += [of_forms[form] for form in FORMS]
    found: list[object] = [sorted(sorted(cells.items()) for cells in each.cells.values()) for each in authors]
    samples = await reader.samples(SHARD, hours)
    return [*found, samples, *[await reader.form_samples(SHARD, hours, form) for form in FORMS]]


@pytest.mark.integration
@given(words=st.lists(WORDS, max_size=25), data=st.data())
@hypothesis_settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_rebuild_in_any_order_gives_the_same(redis_url: str, words: Sequence[Words], data: st.DataObject) -> None:
    """The same outcomes in another order and other batches: the same counters, authors and samples, in both stores."""
    outcomes = [post(offset, each) for offset, each in enumerate(words)]
    shuffled = data.draw(st.permutations(outcomes))
    size = data.draw(st.integers(1, 9))

    async def build(store: AggregateStore | MemoryStore, order: Sequence[Outcome], size: int) -> None:
        for start in range(0, len(order), size):
            await store.apply(SHARD, Consumed("enriched", 0, start or None, start + size), order[start : start + size])

    async def main() -> None:
        link = Link(redis_url, 5.0)
        await link.redis.flushall()
        memory = MemoryStore(settings(), clock())
        await build(AggregateStore(link, settings(), clock()), shuffled, size)
        await build(memory, outcomes, 25)
        assert await exact_state(RedisReader(link), [SHARD]) == await exact_state(memory, [SHARD])
        assert await exact_state(memory, [SHARD]) == implied_state(outcomes)
        assert await details(RedisReader(link)) == await details(memory)
        await link.aclose()

    asyncio.run(main())
