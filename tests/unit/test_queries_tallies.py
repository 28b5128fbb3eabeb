"""What the index is computed from: stories once, authors capped and as clusters, windows that slide."""

from __future__ import annotations

import asyncio

import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from tests.opinion_outcomes import NOW_S, SHARD, Words, dead, post
from tests.unit.test_opinion_queries import MINUTE_S, OTHER, Scene, window
from worker.opinion.answers import Where, Window
from worker.opinion.cells import Bucket, Cell, Measures
from worker.opinion.index.tally import Tally
from worker.opinion.queries.capping import capped

CELL = Cell("social", "en", "medtop:04000000", "analyzer:1.0.0+aaaaaaaa")
HOUR = window("hour", NOW_S, NOW_S)
FIVE_S = (NOW_S - 30) // 300 * 300
FIVE = window("five_minutes", FIVE_S, FIVE_S + 1)


def test_a_loud_author_weighs_no_more_than_the_cap() -> None:
    """Fifty posts of one author among fifty of others: a tenth of the window, and one cluster."""
    scene = Scene(author_max_share=0.1)
    scene.add([post(i, Words(label="negative", author="loud")) for i in range(50)])
    scene.add([post(i, Words(label="positive", author=f"author {i}"), shard=OTHER) for i in range(50)], OTHER)
    [found] = asyncio.run(scene.queries.tallies(HOUR))
    tally = found.cells[CELL]
    assert (tally.negative, tally.positive) == (pytest.approx(10), 50)
    assert tally.cluster_squares == pytest.approx(10**2 + 50)
    assert (found.authors_capped, found.author_can_hide) == (1, 0)


def test_an_author_in_two_partitions_is_one() -> None:
    """Sums of the shards are capped together."""
    scene = Scene(author_max_share=0.1)
    scene.add([post(i, Words(author="loud")) for i in range(5)] + [post(9, Words(author="quiet"))])
    scene.add([post(i, Words(author="loud"), shard=OTHER) for i in range(5)], OTHER)
    [found] = asyncio.run(scene.queries.tallies(HOUR))
    assert found.cells[CELL].weight == pytest.approx(1.1 + 1)


def test_mentions_of_an_entity_are_capped_by_their_own_authors() -> None:
    """A campaign against one company is one voice in its series too."""
    scene = Scene(author_max_share=0.25)
    loud = [post(i, Words(label="negative", author="loud", entities=["Apple"])) for i in range(30)]
    others = [post(30 + i, Words(author=f"author {i}", entities=["Apple"])) for i in range(10)]
    scene.add(loud + others)
    [found] = asyncio.run(scene.queries.tallies(HOUR, Where(entity="org:Apple")))
    tally = found.cells[CELL.of_form]
    assert (tally.negative, tally.positive, tally.cluster_squares) == (pytest.approx(10), 10, pytest.approx(110))


def test_copies_count_as_asked() -> None:
    """Each story once leaves copies out; all copies merges them into the cell they repeat."""
    scene = Scene()
    scene.add([post(0), *(post(i, Words(copy_of="a story")) for i in range(1, 5))])
    [once] = asyncio.run(scene.queries.tallies(HOUR))
    [every] = asyncio.run(scene.queries.tallies(HOUR, counting="all_copies"))
    assert (once.cells, every.cells) == ({CELL: Tally(positive=1, cluster_squares=1)}, {CELL: Tally(0, 0, 5, 0, 5)})


def test_where_authors_are_unknown_nobody_is_capped_and_it_is_said() -> None:
    """Beyond the retention of authors, which may be shorter than that of minutes: each post is a cluster."""
    scene = Scene(author_max_share=0.1, retention_details_s=3600)
    scene.add([post(i, Words(author="loud", entities=["Apple"])) for i in range(20)])
    minute, day = window("minute", NOW_S - 30, NOW_S - 30), window("day", NOW_S, NOW_S)
    for asked in (minute, FIVE, HOUR):
        [found] = asyncio.run(scene.queries.tallies(asked))
        assert (found.cells[CELL].positive, found.author_can_hide) == (pytest.approx(2), 0)
    scene.now.advance(3 * 3600)
    for asked in (minute, FIVE, HOUR, day):
        [found] = asyncio.run(scene.queries.tallies(asked))
        assert (found.cells[CELL].positive, found.cells[CELL].cluster_squares) == (20, 20)
        assert (found.authors_capped, found.author_can_hide) == (0, None)
    of_entity = asyncio.run(scene.queries.entity_tallies(Bucket("five_minutes", FIVE_S), ["org:Apple"]))
    assert of_entity["org:Apple"][CELL.of_form].positive == 20


def test_the_mentions_of_entities_are_read_as_one_by_one() -> None:
    """Of many at once the same tallies as of each alone, capped among its own mentions; none for one without any."""
    scene = Scene(author_max_share=0.25)
    names = ["Apple", "Apple", "Berlin"]
    loud = [post(i, Words(label="negative", author="loud", entities=[names[i % 3]])) for i in range(30)]
    scene.add([*loud, *[post(30 + i, Words(author=f"a{i}", entities=["Apple", "Berlin"])) for i in range(4)]])
    for asked, bucket in ((FIVE, Bucket("five_minutes", FIVE_S)), (HOUR, Bucket("hour", NOW_S // 3600 * 3600))):
        many = asyncio.run(scene.queries.entity_tallies(bucket, ["org:Apple", "org:Berlin", "org:Pear"]))
        for entity in ("org:Apple", "org:Berlin"):
            [alone] = asyncio.run(scene.queries.tallies(asked, Where(entity=entity)))
            assert alone.authors_capped == 1
            assert many[entity] == alone.cells
        assert "org:Pear" not in many
    with pytest.raises(ValueError, match="not by the minute"):
        asyncio.run(scene.queries.entity_tallies(Bucket("minute", FIVE_S), ["org:Apple"]))


def test_five_minutes_know_what_their_minutes_lost() -> None:
    """An author is one over all minutes and partitions, and what he can hide in them adds up."""
    scene = Scene(author_max_share=0.1, authors_per_minute=2)
    for minute in range(5):
        at_s = FIVE_S + 60 * minute
        for shard in (SHARD, OTHER):
            words = [Words(at_s=at_s, author=author) for author in ("loud", "loud", f"{minute}{shard}", f"{minute}")]
            offset = 10 * minute
            scene.add([post(offset + i, each, shard=shard) for i, each in enumerate(words)], shard)
    [found] = asyncio.run(scene.queries.tallies(FIVE))
    assert (found.authors_capped, found.author_can_hide) == (1, 10)
    assert found.cells[CELL].weight == pytest.approx(4 + 20)


def test_a_tally_knows_its_models_and_completeness() -> None:
    """As every answer does."""
    scene = Scene()
    scene.add([post(0), post(1, Words(model="analyzer:2.0.0+bbbbbbbb")), dead(2)])
    [found] = asyncio.run(scene.queries.tallies(HOUR))
    assert found.model_versions == ("analyzer:1.0.0+aaaaaaaa", "analyzer:2.0.0+bbbbbbbb")
    assert (found.completeness.received, found.completeness.analysed, found.missing_at_most) == (3, 2, 0)


MEASURES = st.builds(Measures, *[st.integers(0, 20)] * 4)


@given(
    singles=MEASURES,
    authors=st.dictionaries(st.text(max_size=3), st.lists(MEASURES, min_size=2, max_size=2), max_size=6),
    most=st.floats(1, 50),
)
def test_capping_never_adds_and_holds_for_everyone(
    singles: Measures, authors: dict[str, list[Measures]], most: float
) -> None:
    """No author weighs more than the cap, and nobody adds weight; without authors each post is a cluster."""
    cells = [CELL, CELL._replace(language="de")]
    written = {name: dict(zip(cells, parts, strict=True)) for name, parts in authors.items()}
    whole = dict.fromkeys(cells, singles)
    for parts in written.values():
        for cell, measures in parts.items():
            whole[cell] = whole[cell].plus(measures)
    found = capped(whole, written, most)
    heavy = [sum(one.analysed for one in parts.values()) for parts in written.values()]
    assert found.authors == sum(count > most for count in heavy)
    weight = sum(tally.weight for tally in found.cells.values())
    assert weight == pytest.approx(2 * singles.analysed + sum(min(count, most) for count in heavy))
    if not authors:
        assert all(tally.cluster_squares == tally.weight for tally in found.cells.values())


@hypothesis_settings(max_examples=30)
@given(
    at=st.lists(st.integers(-600, 299), min_size=1, max_size=12),
    sum_of=st.integers(1, 8),
)
def test_a_sliding_window_is_the_sum_of_its_buckets(at: list[int], sum_of: int) -> None:
    """Each point holds exactly the posts of its minutes, copies, models and completeness too, each author once."""
    scene = Scene()
    start_s = MINUTE_S - 300
    scene.add(
        [
            post(
                i,
                Words(
                    at_s=start_s + offset_s,
                    copy_of="a story" if i % 2 else None,
                    language=f"l{i % 3}",
                    author=f"author {i % 4}",
                ),
            )
            for i, offset_s in enumerate(at)
        ]
    )
    span = window("minute", start_s, start_s + 300)
    points = asyncio.run(scene.queries.series(Window("minute", span.start, span.end, sum_of)))
    tallied = asyncio.run(scene.queries.tallies(Window("minute", span.start, span.end, sum_of), counting="all_copies"))
    assert [point.bucket.start_s for point in points] == [start_s + 60 * i for i in range(5)]
    for point, found in zip(points, tallied, strict=True):
        inside = [
            i
            for i, offset_s in enumerate(at)
            if point.bucket.end_s - 60 * sum_of <= start_s + offset_s < point.bucket.end_s
        ]
        assert point.measures.analysed == point.completeness.analysed == len(inside)
        assert point.each_story_once.analysed == sum(i % 2 == 0 for i in inside)
        assert {cell.language for cell in found.cells} == {f"l{i % 3}" for i in inside}
        authors = len({i % 4 for i in inside})
        assert sum(tally.weight for tally in found.cells.values()) == pytest.approx(authors)  # a post each at most
        assert bool(point.model_versions) == bool(inside)
