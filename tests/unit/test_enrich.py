"""The enrich stage with shipped fakes: every record gets one outcome, in order, whatever it holds."""

from __future__ import annotations

import asyncio
import json
import threading
from collections import Counter
from collections.abc import Coroutine, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from tests.polling import until
from worker.analysis.bundle import Bundle
from worker.analysis.inference import Logits, ScriptedInference, TokenBatch
from worker.analysis.prepare import Prepared, Preparer
from worker.entities.link import Linker
from worker.entities.table import Alias, make_aliases
from worker.errors import BadRecord, ModelInvalid, StoreUnavailable, TooManyDeadLetters
from worker.events import ORIGIN_HEADER, SourcePosition, dead_letter_from_headers, decode_enriched, encode_origin
from worker.opinion.answer_store import AnswerStore, MemoryAnswers
from worker.opinion.stories import Candidate, Decision, MemoryStories, StoryIndex
from worker.settings import Settings, load_settings
from worker.stream.asking import CANARY_TEXT
from worker.stream.enrich import FEW_BYTES, FEW_POSTS, EnrichParts, EnrichStage
from worker.stream.records import OutputRecord, Routes, SourceRecord, TopicPartition
from worker.stream.shared_answers import SharedAnswers
from worker.text.language import Identifier
from worker.timing import SystemClock

BUNDLE = Path(__file__).parent.parent / "fixtures" / "tiny_models" / "analyzer" / "1"
SETTINGS = load_settings(max_record_bytes=20_000, pool_wait_ms=1, inference="triton")
ROUTES = Routes(
    SETTINGS.input_topics, {"posts.social": "tid-s", "posts.financial": "tid-f"}, "enriched", "dead", 20_000
)
BROKER_MS = 1_790_000_000_000
SOCIAL_1 = TopicPartition("posts.social", 1)
IDENTIFIER = Identifier()  # reads its models once
LINKER = Linker(make_aliases([(Alias("cik:0000320193", "company", "Apple", "sec"), ["apple"], ["AAPL"])]))
Result = TypeVar("Result")


@dataclass
class MemoryPublisher:
    """Keeps what is published, by output partition; refuses while `refuses` is set."""

    partitions: dict[int, list[OutputRecord]] = field(default_factory=dict)
    refuses: bool = False

    async def publish(self, partition: int, records: Sequence[OutputRecord]) -> None:
        await asyncio.sleep(0)
        if self.refuses:
            raise ConnectionError("refused")
        self.partitions.setdefault(partition, []).extend(records)


@dataclass
class Bench:
    """A stage between fakes."""

    bundle: Bundle
    inference: ScriptedInference
    publisher: MemoryPublisher = field(default_factory=MemoryPublisher)
    strikes: Counter[str] = field(default_factory=Counter)
    stories: StoryIndex = field(default_factory=MemoryStories)
    acked: list[tuple[TopicPartition, int]] = field(default_factory=list)
    answers: AnswerStore | None = None
    settings: Settings = SETTINGS

    async def strike(self, event_id: str) -> int:
        self.strikes[event_id] += 1
        return self.strikes[event_id]

    def stage(self) -> EnrichStage:
        preparer = Preparer(self.bundle, IDENTIFIER, self.settings.max_windows)
        parts = EnrichParts(
            routes=ROUTES,
            bundle=self.bundle,
            preparer=preparer,
            inference=self.inference,
            publisher=self.publisher,
            strike=self.strike,
            stories=self.stories,
            clock=SystemClock(),
            linker=LINKER,
            shared=SharedAnswers(self.answers, self.bundle, SystemClock()) if self.answers else None,
        )
        return EnrichStage(parts, self.settings)

    def record(self, offset: int, value: bytes | None, tp: TopicPartition = SOCIAL_1, **more: Any) -> SourceRecord:
        headers = more.get("headers", ())
        return SourceRecord(tp, offset, BROKER_MS, b"key", value, headers, lambda: self.acked.append((tp, offset)))

    async def outcomes(self, records: Sequence[SourceRecord]) -> list[OutputRecord]:
        stage = self.stage()
        await stage.start()
        try:
            for record in records:
                stage.admit(record)
                if stage.full:
                    await stage.room()
            draining = asyncio.ensure_future(stage.drain(30))
            await asyncio.wait({draining, stage.failed}, return_when=asyncio.FIRST_COMPLETED)
            if stage.failed.done():
                stage.failed.result()
            assert await draining
        finally:
            await stage.aclose()
        return [
            record for partition in sorted(self.publisher.partitions) for record in self.publisher.partitions[partition]
        ]


@pytest.fixture(scope="module")
def bundle() -> Bundle:
    return Bundle.load(BUNDLE)


@pytest.fixture
def bench(bundle: Bundle) -> Bench:
    return Bench(bundle, ScriptedInference(len(bundle.topics)))


def run(work: Coroutine[Any, Any, Result]) -> Result:
    return asyncio.run(asyncio.wait_for(work, 60))


def post(**fields: object) -> bytes:
    return json.dumps(
        {"id": "1", "source": "s", "published_at": "2026-01-01T00:00:00Z", "text": "Guten Tag"} | fields
    ).encode()


BAD = {
    b"not json": ("decode", "not_json"),
    b'{"text": "\xff"}': ("decode", "bad_utf8"),
    b'{"id": "1"}': ("validate", "missing_field"),
    post().replace(b"Guten Tag", b"\\ud83d"): ("decode", "lone_surrogate"),
    post(text="lang " * 200_000): ("tokenize", "text_too_long"),
}


@pytest.mark.parametrize(("value", "where"), BAD.items(), ids=[where[1] for where in BAD.values()])
def test_a_bad_record_is_a_dead_letter_with_its_reason(bench: Bench, value: bytes, where: tuple[str, str]) -> None:
    """Bad input becomes a dead letter: its bytes (a prefix when too large), and stage, reason and position."""
    good = post()
    first, dead, last = sort_by_offset(
        run(bench.outcomes([bench.record(*pair) for pair in enumerate([good, value, good])]))
    )
    assert dead.topic == "dead"
    letter = dead_letter_from_headers(dead.headers)
    assert (letter.stage, letter.reason) == where
    assert letter.position == SourcePosition("posts.social", "tid-s", 1, 1)
    assert letter.size_bytes == len(value)
    assert value.startswith(dead.value or b"-")
    assert letter.truncated == (dead.value != value)
    assert {first.topic, last.topic} == {"enriched"}


def sort_by_offset(records: Sequence[OutputRecord]) -> list[OutputRecord]:
    return sorted(records, key=lambda record: int(dict(record.headers)["pv-offset"]))


@pytest.mark.parametrize(
    ("fields", "flags"),
    [
        ({"text": ""}, ["empty_text"]),
        ({"text": "😀😀🎉"}, []),
        ({"text": "שלום world 世界 مرحبا"}, []),
        ({"published_at": "2099-01-01T00:00:00Z"}, ["published_at_clamped"]),
        ({"published_at": "0001-01-01T00:00:00+14:00"}, []),
        ({"metadata": {"any": [1, {"thing": None}]}, "url": "https://example.org"}, []),
    ],
)
def test_odd_but_right_posts_are_analysed(bench: Bench, fields: dict[str, object], flags: list[str]) -> None:
    """Empty text, emoji, mixed scripts and dates at the ends of time are events, with their flags."""
    (record,) = run(bench.outcomes([bench.record(7, post(**fields))]))
    assert record.topic == "enriched"
    event = decode_enriched(record.value or b"")
    assert [flag for flag in event.flags if flag != "language_hint_conflict"] == flags
    assert event.post.metadata == fields.get("metadata", {})
    assert event.event_time.timestamp() <= BROKER_MS / 1000 + SETTINGS.future_tolerance_s
    assert event.event_id == event.position.event_id


def test_entities_are_published_with_their_ids(bench: Bench) -> None:
    """The linker of the stage reads the post's own text; `enriched` carries what it found."""
    [record] = run(bench.outcomes([bench.record(0, post(text="Bought $AAPL today"))]))
    entities = decode_enriched(record.value or b"").entities
    assert [(each.text, each.id) for each in entities if each.id] == [("$AAPL", "cik:0000320193")]


def test_a_null_value_is_a_tombstone(bench: Bench) -> None:
    """A null value has an outcome, with its position, and is no dead letter."""
    (record,) = run(bench.outcomes([bench.record(3, None)]))
    assert (record.topic, record.key, record.value) == ("enriched", b"key", None)
    assert dict(record.headers)["pv-offset"] == b"3"


def test_a_requeued_dead_letter_keeps_its_event(bench: Bench) -> None:
    """A requeued record has its own position and the event id of the original; a foreign origin is refused."""
    origin = SourcePosition("posts.social", "tid-s", 1, 2)
    elsewhere = SourcePosition("posts.social", "tid-s", 0, 2)
    records = [
        bench.record(9, post(), headers=((ORIGIN_HEADER, encode_origin(origin)),)),
        bench.record(10, post(), headers=((ORIGIN_HEADER, encode_origin(elsewhere)),)),
    ]
    again, refused = sort_by_offset(run(bench.outcomes(records)))
    assert decode_enriched(again.value or b"").event_id == origin.event_id
    assert dict(again.headers)["pv-offset"] == b"9"
    assert dead_letter_from_headers(refused.headers).reason == "bad_origin"


@hypothesis_settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(
        st.tuples(st.sampled_from(["posts.social", "posts.financial"]), st.integers(0, 2), st.integers(0, 60)),
        min_size=1,
        max_size=60,
    ),
)
def test_each_partition_keeps_source_order(bundle: Bundle, plan: list[tuple[str, int, int]]) -> None:
    """Whatever lengths the texts have, outcomes and acknowledgements of a partition keep source order, once each."""
    bench = Bench(bundle, ScriptedInference(len(bundle.topics)))
    records = [
        bench.record(offset, post(text="wort " * words), TopicPartition(topic, partition))
        for offset, (topic, partition, words) in enumerate(plan)
    ]
    run(bench.outcomes(records))
    for tp in {record.tp for record in records}:
        expected = [record.offset for record in records if record.tp == tp]
        published = bench.publisher.partitions[ROUTES.output_partition(tp)]
        assert [int(dict(record.headers)["pv-offset"]) for record in published] == expected
        assert [offset for acked_tp, offset in bench.acked if acked_tp == tp] == expected


def test_a_poisonous_text_takes_no_other_with_it(bench: Bench) -> None:
    """A text that the model refuses ends as the only dead letter, after three strikes."""
    values = [post(text=f"wort {number}") for number in range(12)]
    poison = Preparer(bench.bundle, IDENTIFIER, 32).prepare("qqq").windows[0].ids
    values[5] = post(text="qqq")
    others = {
        int(token)
        for value in values[:5]
        for token in Preparer(bench.bundle, IDENTIFIER, 32).prepare(json.loads(value)["text"]).windows[0].ids
    }
    bench.inference.rejected_id = next(int(token) for token in poison if int(token) not in others)
    records = sort_by_offset(run(bench.outcomes([bench.record(*pair) for pair in enumerate(values)])))
    assert [record.topic for record in records] == ["enriched"] * 5 + ["dead"] + ["enriched"] * 6
    letter = dead_letter_from_headers(records[5].headers)
    assert (letter.stage, letter.reason) == ("infer", "inference_failed")
    assert letter.model_version == bench.bundle.model.version
    assert bench.strikes == Counter({letter.event_id: 3})


@pytest.mark.parametrize("failure", ["nan", "wrong_shapes"])
def test_no_label_is_invented(bench: Bench, failure: Any) -> None:
    """A model that answers nonsense fails the start: nothing is published."""
    bench.inference.failure = failure
    with pytest.raises(ModelInvalid):
        run(bench.outcomes([bench.record(0, post())]))
    assert bench.publisher.partitions == {}
    assert bench.acked == []


def test_an_outage_is_waited_out(bench: Bench) -> None:
    """While the model is away nothing is dead-lettered or acknowledged; afterwards everything is analysed."""

    async def scenario() -> None:
        stage = bench.stage()
        await stage.start()
        bench.inference.failure = "outage"
        for offset in range(20):
            stage.admit(bench.record(offset, post()))
        while not stage.outage:
            await asyncio.sleep(0.01)
        assert bench.acked == []
        bench.inference.failure = None
        assert await stage.drain(30)
        assert not stage.outage
        await stage.aclose()

    run(scenario())
    assert [offset for _, offset in bench.acked] == list(range(20))
    assert not bench.strikes


def test_copies_tell_the_story_of_the_first(bundle: Bundle) -> None:
    """A retweet and an id repeated by its source are copies; a second reading decides nothing anew."""
    words = "Boeing faces another costly delay after engineers in Seattle found serious cracks in its wings"
    values = [
        post(id="a", text=words),
        post(id="b", text=f"RT @x: {words}"),
        post(id="a", text="Now edited"),
        post(id="a", source="elsewhere", text="Quite another post"),
    ]
    index = MemoryStories()
    for _ in range(2):
        bench = Bench(bundle, ScriptedInference(len(bundle.topics)), stories=index)
        records = run(bench.outcomes([bench.record(offset, value) for offset, value in enumerate(values)]))
        events = [decode_enriched(record.value or b"") for record in sort_by_offset(records)]
        stories = [(event.story.id, event.story.copy) for event in events if event.story]
        firsts = {event_id for event_id, is_copy in stories if not is_copy}
        assert len(stories) == 4
        assert len(firsts) == 2
        assert {event_id for event_id, _ in stories} == firsts <= {event.event_id for event in events}
        assert stories[3] == (events[3].event_id, False)


@dataclass
class AwayStories(MemoryStories):
    """An index that cannot be reached while `away` is set."""

    away: bool = True

    async def decide(self, posts: Sequence[Candidate]) -> list[Decision]:
        if self.away:
            raise StoreUnavailable("away")
        return await super().decide(posts)


def test_an_absent_story_index_is_waited_for(bench: Bench) -> None:
    """Without its decision no post is published, acknowledged or dead-lettered; the outage is told."""

    async def scenario() -> None:
        bench.stories = index = AwayStories()
        stage = bench.stage()
        await stage.start()
        for offset in range(20):
            stage.admit(bench.record(offset, post()))
        while not stage.outage:
            await asyncio.sleep(0.01)
        assert (bench.acked, bench.publisher.partitions) == ([], {})
        index.away = False
        assert await stage.drain(30)
        assert not stage.outage
        await stage.aclose()

    run(scenario())
    assert [offset for _, offset in bench.acked] == list(range(20))


def test_a_refused_publish_fails_the_stage(bench: Bench) -> None:
    """When outcomes cannot be published the stage fails, for the process to end, and nothing is acknowledged."""

    async def scenario() -> None:
        stage = bench.stage()
        await stage.start()
        bench.publisher.refuses = True
        stage.admit(bench.record(0, post()))
        with pytest.raises(ConnectionError):
            await asyncio.wait_for(asyncio.shield(stage.failed), 30)
        await stage.aclose()

    run(scenario())
    assert bench.acked == []


def test_a_deployment_that_fails_everywhere_stops(bench: Bench) -> None:
    """Only bad records: the stage fails at the limit, and what is over it is neither published nor acknowledged."""
    limit = SETTINGS.dead_letter_max_consecutive
    with pytest.raises(TooManyDeadLetters):
        run(bench.outcomes([bench.record(offset, b"not json") for offset in range(limit + 100)]))
    published = [record for records in bench.publisher.partitions.values() for record in records]
    assert len(bench.acked) <= len(published) <= limit


def test_revoked_partitions_are_forgotten(bench: Bench) -> None:
    """Records of a revoked partition are neither published after it, nor block the others."""

    async def scenario() -> None:
        stage = bench.stage()
        await stage.start()
        bench.inference.failure = "outage"
        gone, kept = TopicPartition("posts.social", 0), TopicPartition("posts.social", 1)
        for offset in range(5):
            stage.admit(bench.record(offset, post(), gone))
            stage.admit(bench.record(offset, post(), kept))
        while not stage.outage:
            await asyncio.sleep(0.01)
        stage.revoke([gone])
        bench.inference.failure = None
        assert await stage.drain(30)
        await stage.aclose()

    run(scenario())
    assert bench.acked == [(TopicPartition("posts.social", 1), offset) for offset in range(5)]


def test_memory_is_bounded_while_the_model_is_away(bench: Bench) -> None:
    """No more than `pool_posts` records are read while none gets an outcome."""

    async def scenario() -> int:
        stage = bench.stage()
        await stage.start()
        bench.inference.failure = "outage"
        admitted = 0
        for offset in range(SETTINGS.pool_posts + 100):
            stage.admit(bench.record(offset, post()))
            admitted += 1
            if stage.full:
                break
        await stage.aclose()
        return admitted

    assert run(scenario()) == SETTINGS.pool_posts


@dataclass
class SlowInference(ScriptedInference):
    """Answers once it may."""

    may_answer: asyncio.Event = field(default_factory=asyncio.Event)

    async def infer(self, batch: TokenBatch) -> Logits:
        logits = await super().infer(batch)
        await self.may_answer.wait()
        return logits


def test_a_post_waits_for_company_only_before_the_last_free_call(bundle: Bundle) -> None:
    """A post alone goes to a model that has time; one that would take the last call waits, until another is free."""

    async def scenario() -> None:
        inference = SlowInference(len(bundle.topics))
        settings = load_settings(pool_wait_ms=3_600_000, batches_in_flight=2, inference="triton")
        bench = Bench(bundle, inference, settings=settings)
        stage = bench.stage()
        inference.may_answer.set()
        await stage.start()
        inference.may_answer.clear()
        canary = len(inference.calls)

        stage.admit(bench.record(0, post(text="Good morning")))
        await until(lambda: len(inference.calls) == canary + 1)
        stage.admit(bench.record(1, post(text="Good evening to all of you")))
        await until(lambda: len(stage._pool) == 1)
        for _ in range(100):
            await asyncio.sleep(0)
        assert len(inference.calls) == canary + 1
        inference.may_answer.set()
        assert await stage.drain(30)
        await stage.aclose()

    run(scenario())


def test_a_text_that_comes_again_is_not_inferred_again(bench: Bench) -> None:
    """Thirty copies, in one read and later, all get their event, and the model sees the text once."""

    async def scenario() -> int:
        records = [bench.record(offset, post(id=str(offset), text="Profits rose again")) for offset in range(30)]
        outcomes = await bench.outcomes(records)
        assert len({decode_enriched(record.value).event_id for record in outcomes}) == 30
        return sum(rows for rows, _ in bench.inference.calls)

    canary = 1
    assert run(scenario()) <= canary + SETTINGS.batches_in_flight


def test_a_second_reading_by_another_worker_infers_nothing_and_says_the_same(bundle: Bundle) -> None:
    """Texts of one and of many windows, with other mentions: the same events, and the model sees its canary alone."""
    texts = ["Profits rose at Apple", "Große Freude in Berlin", "wort " * 60, ""]
    store, events, rows = MemoryAnswers(), [], []
    for reading, name in enumerate(["ann", "bob"]):
        bench = Bench(bundle, ScriptedInference(len(bundle.topics)), answers=store)
        values = [
            post(id=str(at), text=f"RT @{name} {text} https://a.example/{reading}") for at, text in enumerate(texts)
        ]
        records = run(bench.outcomes([bench.record(*pair) for pair in enumerate(values)]))
        read = [decode_enriched(record.value or b"") for record in sort_by_offset(records)]
        events.append([(event.sentiment, event.topic, event.language, event.flags) for event in read])
        rows.append(sum(rows for rows, _ in bench.inference.calls))
        spans = [(event.post.text, entity) for event in read for entity in event.entities]
        assert all(text[entity.start : entity.end] == entity.text for text, entity in spans)
    assert events[0] == events[1]
    assert rows[1] == len(Preparer(bundle, IDENTIFIER, 32).prepare(CANARY_TEXT).windows)
    assert rows[0] - rows[1] == len(store.answers) > len(texts)


def test_a_text_that_breaks_the_model_is_struck_out_with_a_shared_memory_too(bench: Bench) -> None:
    """Nothing of it is kept, its batch mates are, and its strikes are its own."""
    bench.answers = store = MemoryAnswers()
    poison, *good = (
        {
            token
            for window in Preparer(bench.bundle, IDENTIFIER, 32).prepare(text).windows
            for token in window.ids.tolist()
        }
        for text in ("qqq", "wort", CANARY_TEXT)
    )
    bench.inference.rejected_id = min(poison.difference(*good))
    values = [post(text="wort"), post(text="qqq")]
    records = sort_by_offset(run(bench.outcomes([bench.record(*pair) for pair in enumerate(values)])))
    assert [record.topic for record in records] == ["enriched", "dead"]
    assert list(bench.strikes.values()) == [3]
    assert len(store.answers) == 1


@pytest.mark.parametrize(
    ("texts", "on_the_loop"),
    [
        (["Guten Tag"] * FEW_POSTS, True),
        (["Guten Tag"] * (FEW_POSTS + 1), False),
        (["Guten Tag " * (FEW_BYTES // 10)], False),
    ],
    ids=["few", "many", "long"],
)
def test_the_event_loop_is_held_up_by_a_few_short_posts_at_most(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, texts: list[str], on_the_loop: bool
) -> None:
    """Heartbeats and other batches do not wait for the tokenizer; a few short posts are not worth a thread."""
    threads: list[bool] = []
    prepare_many = Preparer.prepare_many

    def noted(self: Preparer, posts: Sequence[tuple[str, str | None]]) -> list[Prepared | BadRecord]:
        threads.append(threading.current_thread() is threading.main_thread())
        return prepare_many(self, posts)

    monkeypatch.setattr(Preparer, "prepare_many", noted)
    outcomes = run(bench.outcomes([bench.record(offset, post(text=text)) for offset, text in enumerate(texts)]))
    canary, *others = threads
    assert canary
    assert (others, len(outcomes)) == ([on_the_loop], len(texts))
