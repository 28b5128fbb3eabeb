"""Keys side by side: shares of voice, movers, two keys compared, and the posts behind a number."""

from __future__ import annotations

import asyncio

import pytest

from tests.opinion_outcomes import NOW_S, Words, dead, position, post
from tests.unit.test_opinion_queries import OTHER, Scene, window
from worker.opinion.answers import Where
from worker.opinion.cells import OTHER as REST
from worker.opinion.queries import Asked

DAY = window("day", NOW_S, NOW_S)
HOUR = window("hour", NOW_S, NOW_S)
HOUR_BEFORE = window("hour", NOW_S - 3600, NOW_S - 3600)


def test_shares_of_voice_sum_to_one() -> None:
    """What is not listed is in (other), names that were lost to the limit too."""
    scene = Scene(entity_forms_per_window=4)
    scene.add([post(i, Words(entities=["Apple", f"Rare {i}"])) for i in range(9)])
    voices = asyncio.run(scene.queries.share_of_voice(DAY, Asked("entity"), 1)).voices
    assert [voice.key for voice in voices] == ["apple", REST]
    assert sum(voice.share for voice in voices) == pytest.approx(1)
    assert sum(voice.measures.analysed for voice in voices) == 18
    by_language = asyncio.run(scene.queries.share_of_voice(DAY, Asked("language"))).voices
    assert [(voice.key, voice.share) for voice in by_language] == [("en", 1.0), (REST, 0.0)]
    nothing = asyncio.run(Scene().queries.share_of_voice(DAY, Asked("language"))).voices
    assert [(voice.key, voice.share) for voice in nothing] == [(REST, 0.0)]


def test_voices_count_stories_once_unless_told() -> None:
    """A campaign of copies is no voice; reach is asked for by name."""
    scene = Scene()
    copies = [post(i, Words(entities=["Pear"], copy_of="a story")) for i in range(2, 40)]
    scene.add([post(0, Words(entities=["Apple"])), post(1, Words(entities=["Pear"])), *copies])
    once = asyncio.run(scene.queries.share_of_voice(DAY, Asked("entity"))).voices
    every = asyncio.run(scene.queries.share_of_voice(DAY, Asked("entity", counting="all_copies"))).voices
    assert [(voice.key, voice.measures.analysed) for voice in once] == [("apple", 1), ("pear", 1), (REST, 0)]
    assert [(voice.key, voice.measures.analysed) for voice in every] == [("pear", 39), ("apple", 1), (REST, 0)]


def test_the_key_that_moved_most_comes_first() -> None:
    """A change of sentiment, and a change of volume, each beyond what chance explains."""
    scene = Scene()
    before = NOW_S - 3600
    scene.add(
        [post(i, Words(at_s=before, label="positive", entities=["Turned", "Steady"])) for i in range(40)]
        + [post(100 + i, Words(label="negative", entities=["Turned"])) for i in range(40)]
        + [post(200 + i, Words(label="positive", entities=["Steady"])) for i in range(40)]
    )
    first, second = asyncio.run(scene.queries.top_movers(HOUR_BEFORE, HOUR, Asked("entity"))).movers
    assert (first.key, second.key) == ("turned", "steady")
    assert first.sentiment_z < -5 < second.sentiment_z
    assert first.volume_z == pytest.approx(0)
    scene.add([post(i, Words(entities=["New"]), shard=OTHER) for i in range(60)], OTHER)
    by_volume = asyncio.run(scene.queries.top_movers(HOUR_BEFORE, HOUR, Asked("entity"), 2)).movers
    assert {mover.key for mover in by_volume} == {"turned", "new"}
    assert next(mover for mover in by_volume if mover.key == "new").volume_z > 5


def test_movers_by_a_dimension_and_of_nothing() -> None:
    """Languages move too; without posts nothing does."""
    scene = Scene()
    assert asyncio.run(scene.queries.top_movers(HOUR_BEFORE, HOUR, Asked("language"))).movers == ()
    scene.add([post(i, Words(language="de" if i % 2 else "en")) for i in range(20)])
    movers = asyncio.run(scene.queries.top_movers(HOUR_BEFORE, HOUR, Asked("language"))).movers
    assert [(mover.key, mover.volume_z, mover.sentiment_z) for mover in movers] == [("de", 0, 0), ("en", 0, 0)]


def test_few_posts_are_not_beyond_chance() -> None:
    """Two posts of one label against two of another do not outrank a hundred."""
    scene = Scene()
    before = NOW_S - 3600
    few = [post(i, Words(at_s=before, topic="few")) for i in range(2)]
    few += [post(i, Words(label="negative", topic="few")) for i in range(2, 4)]
    many = [post(10 + i, Words(at_s=before, label="negative" if i % 5 else "positive")) for i in range(100)]
    many += [post(200 + i, Words(label="negative" if i % 2 else "positive")) for i in range(100)]
    scene.add(few + many)
    movers = asyncio.run(scene.queries.top_movers(HOUR_BEFORE, HOUR, Asked("topic"))).movers
    assert [mover.key for mover in movers] == ["medtop:04000000", "few"]


def test_two_keys_are_compared_bucket_by_bucket() -> None:
    """Side by side on one time axis, empty buckets too."""
    scene = Scene()
    scene.add([post(0, Words(entities=["Apple"])), post(1, Words(at_s=NOW_S - 3600, entities=["Pear"]))])
    pairs = asyncio.run(
        scene.queries.compare(window("hour", NOW_S - 3600, NOW_S), Where(entity="apple"), Where(entity="pear"))
    )
    assert [(one.measures.analysed, other.measures.analysed) for one, other in pairs] == [(0, 1), (1, 0)]
    assert all(one.bucket == other.bucket for one, other in pairs)


def test_a_number_leads_to_posts() -> None:
    """By cell or entity, over shards, the same ones every time; not for minutes, nor when they are forgotten."""
    scene = Scene()
    scene.add([post(i, Words(language="de" if i % 2 else "en", entities=["Apple"])) for i in range(20)])
    scene.add([post(3, Words(language="de"), shard=OTHER)], OTHER)
    sample = asyncio.run(scene.queries.drill_down(DAY, Where(language="de"), 100))
    found = sample.posts
    assert len(found) == 9
    assert (sample.basis.completeness.analysed, len(sample.basis.model_versions)) == (21, 1)
    assert {ref.offset % 2 for ref in found} == {1}
    by_event = {position(ref.offset, f"{ref.topic_id}:{ref.partition}").event_id for ref in found}
    assert by_event == {ref.event_id for ref in found}
    assert [ref.event_id for ref in found] == sorted(ref.event_id for ref in found)
    assert asyncio.run(scene.queries.drill_down(DAY, Where(language="de"), 2)).posts == found[:2]
    assert len(asyncio.run(scene.queries.drill_down(HOUR, Where(entity="APPLE"), 3)).posts) == 3
    with pytest.raises(ValueError, match="without other filters"):
        asyncio.run(scene.queries.drill_down(DAY, Where(entity="apple", language="de")))
    assert asyncio.run(scene.queries.drill_down(window("minute", NOW_S - 60, NOW_S))).posts == ()
    scene.now.advance(3 * 86_400)
    assert asyncio.run(scene.queries.drill_down(HOUR, Where(language="de"))).posts == ()


def test_every_ranking_says_what_it_rests_on() -> None:
    """How complete its windows are, and which models labelled what counted."""
    scene = Scene(entity_forms_per_window=4)
    scene.add([post(i, Words(entities=[f"Rare {i}"], model=f"analyzer:{i % 2}")) for i in range(9)] + [dead(9)])
    voices = asyncio.run(scene.queries.share_of_voice(HOUR, Asked("entity")))
    assert (voices.basis.completeness.received, voices.basis.model_versions) == (10, ("analyzer:0", "analyzer:1"))
    assert voices.missing_at_most >= 1
    movers = asyncio.run(
        scene.queries.top_movers(HOUR_BEFORE, HOUR, Asked("language", Where(model_version="analyzer:0")))
    )
    assert (movers.before.completeness.received, movers.before.model_versions) == (0, ())
    assert (movers.after.completeness.received, movers.after.model_versions) == (10, ("analyzer:0",))
