"""What is read back: sums over shards, shares, completeness."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime

import pytest

from tests.opinion_outcomes import NOW_S, SHARD, Words, clock, dead, post, settings, tombstone
from worker.opinion.answers import Completeness, Where, Window
from worker.opinion.cells import Level, Outcome
from worker.opinion.memory import MemoryStore
from worker.opinion.queries import IDLE_MS, Queries
from worker.opinion.store import Consumed
from worker.timing import ManualClock

OTHER = "topic-a:1"
MINUTE_S = NOW_S // 60 * 60


def window(level: Level, start_s: float, end_s: float) -> Window:
    return Window(level, datetime.fromtimestamp(start_s, UTC), datetime.fromtimestamp(end_s, UTC))


class Scene:
    """A store in memory, and queries over it, on one clock."""

    def __init__(self, now: ManualClock | None = None, **overrides: object) -> None:
        self.now = now or clock()
        self.store = MemoryStore(settings(**overrides), self.now)
        self.queries = Queries(self.store, settings(**overrides), self.now)

    def add(self, outcomes: Sequence[Outcome], shard: str = SHARD) -> None:
        consumed = Consumed("enriched", 0, None, max(one.position.offset for one in outcomes) + 1)
        asyncio.run(self.store.apply(shard, consumed, outcomes))


def test_a_series_sums_the_shards_and_keeps_empty_buckets() -> None:
    """One point per bucket, oldest first, whichever partitions the posts came from."""
    scene = Scene()
    scene.add(
        [post(0, Words(label="positive", at_s=MINUTE_S - 60)), post(1, Words(label="negative", at_s=MINUTE_S - 60))]
    )
    scene.add([post(0, Words(label="positive", at_s=MINUTE_S - 1), shard=OTHER)], OTHER)
    points = asyncio.run(scene.queries.series(window("minute", MINUTE_S - 120, MINUTE_S + 1)))
    assert [(p.bucket.start_s - MINUTE_S, p.measures.positive, p.measures.negative) for p in points] == [
        (-120, 0, 0),
        (-60, 2, 1),
        (0, 0, 0),
    ]
    assert points[1].measures.net_sentiment == pytest.approx(1 / 3)
    assert points[0].measures.net_sentiment is None


@pytest.mark.parametrize(
    ("where", "count"),
    [
        (Where(), 4),
        (Where(language="de"), 2),
        (Where(source_class="financial"), 1),
        (Where(topic="medtop:15000000"), 1),
        (Where(model_version="analyzer:2.0.0+bbbbbbbb"), 1),
        (Where(language="de", source_class="financial"), 1),
        (Where(language="fr"), 0),
    ],
)
def test_a_series_is_filtered_by_any_dimension(where: Where, count: int) -> None:
    """Language, topic, source class and model version, alone or together; completeness stays that of the bucket."""
    scene = Scene()
    scene.add(
        [
            post(0, Words(topic="medtop:15000000")),
            post(1, Words(model="analyzer:2.0.0+bbbbbbbb")),
            post(2, Words(language="de")),
            post(3, Words(language="de", source_class="financial")),
            dead(4),
        ]
    )
    [point] = asyncio.run(scene.queries.series(window("hour", NOW_S, NOW_S), where)) or [None]
    assert point is not None
    assert point.measures.analysed == count
    assert (point.completeness.received, point.completeness.dead_lettered) == (5, 1)
    assert len(point.model_versions) == (2 if where == Where() else min(count, 1))


def test_five_minutes_are_the_sum_of_their_minutes() -> None:
    """Posts are kept by the minute; the five-minute series adds them up, completeness too."""
    scene = Scene()
    start_s = NOW_S // 300 * 300 - 300
    scene.add([post(i, Words(at_s=start_s + 60 * i)) for i in range(5)] + [dead(7, at_s=start_s + 299)])
    [point] = asyncio.run(scene.queries.series(window("five_minutes", start_s, start_s + 300)))
    assert (point.bucket.level, point.measures.analysed) == ("five_minutes", 5)
    assert (point.completeness.received, point.completeness.newest_event_ms) == (6, (start_s + 240) * 1000)


def test_completeness_tells_what_a_bucket_holds() -> None:
    """Received is each record once, also a dead letter that was requeued and then analysed."""
    scene = Scene()
    first, copy = Words(abstained=True), Words(abstained=True, copy_of="a story")
    scene.add([dead(0), dead(1), post(2, Words(), origin=0), post(3, first), post(4, copy), tombstone(5)])
    [point] = asyncio.run(scene.queries.series(window("day", NOW_S, NOW_S)))
    assert point.completeness == Completeness(
        analysed=3,
        abstained=2,
        dead_lettered=2,
        resolved=1,
        copies=1,
        newest_event_ms=(NOW_S - 30) * 1000,
        complete=False,
    )
    assert point.completeness.received == 4


def test_an_entity_series_counts_mentions_of_its_form() -> None:
    """Asked by any spelling; by five minutes, hour or day."""
    scene = Scene()
    scene.add(
        [
            post(0, Words(label="negative", entities=["Apple", "APPLE ", "Berlin"])),
            post(1, Words(language="de", entities=["apple"])),
        ]
    )
    [point] = asyncio.run(scene.queries.series(window("day", NOW_S, NOW_S), Where(entity="Apple")))
    assert (point.measures.analysed, point.measures.negative, point.missing_at_most) == (3, 2, 0)
    [point] = asyncio.run(scene.queries.series(window("day", NOW_S, NOW_S), Where(entity="apple", language="de")))
    assert point.measures.analysed == 1
    with pytest.raises(ValueError, match="not by topic"):
        asyncio.run(scene.queries.series(window("day", NOW_S, NOW_S), Where(entity="apple", topic="t")))
    with pytest.raises(ValueError, match="not by the minute"):
        asyncio.run(scene.queries.series(window("minute", NOW_S, NOW_S), Where(entity="apple")))


def test_top_entities_rank_the_sums_over_shards() -> None:
    """A form that leads in no partition may lead in all of them together."""
    scene = Scene()
    scene.add([post(i, Words(entities=["a", "both"])) for i in range(3)] + [post(3, Words(entities=["a"]))])
    scene.add([post(i, Words(entities=["b", "both"]), shard=OTHER) for i in range(3)], OTHER)
    top = asyncio.run(scene.queries.top_entities(window("day", NOW_S, NOW_S), 2))
    assert [(one.form, one.measures.analysed) for one in top.entities] == [("both", 6), ("a", 4)]
    assert (top.mentions.analysed, top.missing_at_most) == (13, 0)


def test_top_entities_say_what_they_can_lack() -> None:
    """Past the limit of forms, counts are lower bounds, and the answer says by how much at most."""
    scene = Scene(entity_forms_per_window=4)
    scene.add([post(i, Words(entities=["a", f"rare {i}"])) for i in range(9)])
    top = asyncio.run(scene.queries.top_entities(window("day", NOW_S, NOW_S), 3))
    assert top.entities[0].form == "a"
    assert top.entities[0].measures.analysed <= 9 <= top.entities[0].measures.analysed + top.missing_at_most
    assert top.mentions.analysed == 18


def test_a_breakdown_crosses_dimensions() -> None:
    """Sentiment by language, by topic, or by both, most posts first."""
    scene = Scene()
    scene.add([post(0, Words(language="de")), post(1, Words(language="de", topic="t2")), post(2, Words())])
    day = window("day", NOW_S, NOW_S)
    by_language = asyncio.run(scene.queries.breakdown(day, ("language",)))
    assert [(group, one.analysed) for group, one in by_language.items()] == [(("de",), 2), (("en",), 1)]
    both = asyncio.run(scene.queries.breakdown(day, ("topic", "language"), Where(language="de")))
    assert set(both) == {("medtop:04000000", "de"), ("t2", "de")}
    with pytest.raises(ValueError, match="series"):
        asyncio.run(scene.queries.breakdown(day, ("topic",), Where(entity="apple")))


def test_totals_balance() -> None:
    """Every record that was received or requeued is in exactly one of the outcomes."""
    scene = Scene()
    scene.add(
        [
            dead(0),
            dead(1, reason="bad_utf8"),
            tombstone(2),
            post(3),
            dead(4, origin=0),
            post(5, origin=0),
            post(6, origin=0),
        ]
    )
    totals = asyncio.run(scene.queries.totals())
    assert totals.received + totals.requeued == (
        totals.analysed + totals.dead_lettered + totals.dead_lettered_again + totals.superseded + totals.tombstones
    )
    assert (totals.received, totals.requeued, totals.analysed, totals.superseded) == (4, 3, 2, 1)
    assert totals.dead_letter_reasons == {"bad_utf8": 1, "not_json": 1}


def test_the_watermark_waits_for_the_slowest_busy_partition() -> None:
    """A bucket is complete when every busy partition has passed its end; an idle one does not hold it back."""
    scene = Scene()
    scene.add([post(0, Words(at_s=MINUTE_S - 500))])
    scene.now.advance(1)
    scene.add([post(0, Words(at_s=MINUTE_S), shard=OTHER)], OTHER)
    assert asyncio.run(scene.queries.watermark_ms()) == (MINUTE_S - 500) * 1000
    scene.now.advance(IDLE_MS / 1000)
    assert asyncio.run(scene.queries.watermark_ms()) == MINUTE_S * 1000
    points = asyncio.run(scene.queries.series(window("minute", MINUTE_S - 60, MINUTE_S + 60)))
    assert [point.completeness.complete for point in points] == [True, False]
    scene.now.advance(IDLE_MS / 1000)
    assert asyncio.run(scene.queries.watermark_ms()) == MINUTE_S * 1000


def test_an_empty_store_answers() -> None:
    """Before the first post there is nothing, and no error."""
    scene = Scene()
    assert asyncio.run(scene.queries.watermark_ms()) is None
    assert asyncio.run(scene.queries.totals()).received == 0
    [point] = asyncio.run(scene.queries.series(window("day", NOW_S, NOW_S)))
    assert (point.measures.analysed, point.completeness) == (0, Completeness())


def test_buckets_beyond_retention_are_not_asked_for() -> None:
    """A window from the beginning of time costs no more than the retention."""
    scene = Scene()
    points = asyncio.run(scene.queries.series(window("day", 0, NOW_S)))
    assert 400 <= len(points) <= 402
