"""What the leader reads of the aggregates: each story once, whole, and the same however the outcomes came."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import settings as examples
from hypothesis import strategies as st

from tests.opinion_outcomes import NOW_S, SHARD, Words, clock, dead, post, settings
from worker.alerts.aggregates import AggregateWindows
from worker.alerts.windows import WindowRead
from worker.opinion.cells import Cell, Outcome
from worker.opinion.index.correction import Confusions
from worker.opinion.index.index import index
from worker.opinion.index.standard import Standard
from worker.opinion.index.tally import Tally
from worker.opinion.memory import MemoryStore
from worker.opinion.shifts.words import Key, Span
from worker.opinion.store import Consumed

START_S = (NOW_S - 1200) // 300 * 300
SPAN = Span(START_S, START_S + 300)
CELL = Cell("social", "en", "medtop:04000000", "analyzer:1.0.0+aaaaaaaa")
AS_THEY_ARE = Confusions.of([("", "social", ((1000, 0, 0, 0), (0, 1000, 0, 0), (0, 0, 1000, 0)), True)])


def stored(outcomes: Sequence[Outcome]) -> AggregateWindows:
    chosen = settings(alert_min_posts=2.0, alert_entities=1)
    store = MemoryStore(chosen, clock())
    asyncio.run(store.apply(SHARD, Consumed("enriched", 0, None, len(outcomes)), outcomes))
    return AggregateWindows(store, chosen, clock())


def read(outcomes: Sequence[Outcome]) -> WindowRead:
    return asyncio.run(stored(outcomes).read(SPAN))


def test_a_flood_of_copies_is_one_story() -> None:
    """The window holds the first post alone; all of them are analysed."""
    first = post(0, Words(at_s=START_S))
    flood = [post(number, Words(at_s=START_S + 1, copy_of="first")) for number in range(1, 101)]
    found = read([first, *flood])
    assert found.posts == {CELL: Tally(positive=1.0, cluster_squares=1.0)}
    assert (found.completeness.analysed, found.completeness.share) == (101, 1.0)


def test_only_posts_of_the_window_count() -> None:
    """Its first second does, the first after it does not."""
    times = (START_S - 1, START_S, START_S + 299, START_S + 300)
    found = read([post(number, Words(at_s=at_s)) for number, at_s in enumerate(times)])
    assert found.posts[CELL].weight == 2


def test_dead_letters_make_a_window_incomplete() -> None:
    """By the share of what was received."""
    outcomes = [post(0, Words(at_s=START_S)), dead(1, at_s=START_S), dead(2, at_s=START_S), dead(3, at_s=START_S)]
    found = read(outcomes).completeness
    assert (found.received, found.analysed, found.share) == (4, 1, 0.25)


def test_the_most_mentioned_entities_are_watched() -> None:
    """As many as the settings say, with enough mentions; a stretch of one holds its mentions alone."""
    names = ["Acme", "Acme", "Acme", "Other", "Other", "Seldom"]
    outcomes = [post(number, Words(at_s=START_S, entities=[name])) for number, name in enumerate(names)]
    assert {name: sum(t.weight for t in cells.values()) for name, cells in read(outcomes).entities.items()} == {
        "org:Acme": 3
    }
    stretch = asyncio.run(stored(outcomes).stretch(Key("entity", ("org:Other",)), Span(START_S - 300, SPAN.end_s)))
    assert sum(tally.weight for tally in stretch.entities["org:Other"].values()) == 2


def test_a_loud_author_is_one_voice_to_the_detectors() -> None:
    """In five minutes, among an entity's mentions and in a stretch: a twentieth of the posts, one cluster."""
    times = [START_S + 3 * number for number in range(100)]
    loud = [Words(at_s=at_s, label="negative", author="loud", entities=["Acme"]) for at_s in times[:50]]
    others = [Words(at_s=at_s, author=f"a{at_s}", entities=["Acme"]) for at_s in times[50:]]
    outcomes = [post(number, words) for number, words in enumerate([*loud, *others])]
    found = read(outcomes)
    stretch = asyncio.run(stored(outcomes).stretch(Key("entity", ("org:Acme",)), SPAN))
    for tally in (
        found.posts[CELL],
        found.entities["org:Acme"][CELL.of_form],
        stretch.entities["org:Acme"][CELL.of_form],
    ):
        assert tally.negative == pytest.approx(0.05 * 100)
        assert (tally.positive, tally.cluster_squares) == (50, pytest.approx(50 + 5**2))


def test_an_empty_store_has_no_windows() -> None:
    """And one with posts begins with the oldest minute."""

    async def first_s(outcomes: Sequence[Outcome]) -> int | None:
        return await stored_windows[len(outcomes)].first_s()

    outcomes = [post(0, Words(at_s=START_S + 61))]
    stored_windows = {0: stored([]), 1: stored(outcomes)}
    assert asyncio.run(first_s([])) is None
    assert asyncio.run(first_s(outcomes)) == START_S + 60
    assert asyncio.run(stored_windows[0].settled_until_s(())) is None
    assert asyncio.run(stored_windows[1].settled_until_s(())) == START_S + 61


LABELS = st.lists(
    st.tuples(st.sampled_from(["negative", "neutral", "positive"]), st.sampled_from(["en", "de"])),
    min_size=1,
    max_size=20,
)


@examples(max_examples=15)
@given(st.randoms(use_true_random=False), LABELS)
def test_a_rebuild_gives_the_same_index(chance: random.Random, made: list[tuple[str, str]]) -> None:
    """The same outcomes in another order, and in other batches, come to the same point with the same interval."""
    outcomes = [
        post(number, Words(at_s=START_S + number % 300, label=label, language=language))
        for number, (label, language) in enumerate(made)
    ]
    shuffled = chance.sample(outcomes, len(outcomes))
    one, other = read(outcomes).posts, read(shuffled).posts
    assert one == other
    assert index(one, Standard.of(one), AS_THEY_ARE) == index(other, Standard.of(other), AS_THEY_ARE)
