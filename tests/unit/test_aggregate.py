"""The aggregate stage over the in-memory store: each outcome counts once, and positions are the store's to keep."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from worker.errors import BadRecord, PositionLost, StoreUnavailable
from worker.events import Analysis, ModelRef, Probabilities, Sentiment, Story, Topic
from worker.opinion.cells import Outcome
from worker.opinion.memory import MemoryStore
from worker.opinion.store import Applied, Consumed
from worker.settings import load_settings
from worker.stream.aggregate import AggregateParts, AggregateStage
from worker.stream.commit import Slot
from worker.stream.outcomes import Outcomes
from worker.stream.records import OutputRecord, Routes, SourceRecord, TopicPartition
from worker.timing import SystemClock

SETTINGS = load_settings(aggregate_batch=4, aggregate_wait_ms=0)
ROUTES = Routes(SETTINGS.input_topics, {"posts.social": "tid-s", "posts.financial": "tid-f"}, "enriched", "dead", 10**6)
OUTCOMES = Outcomes(ROUTES, ModelRef("analyzer", "analyzer:1+00000000"), 300)
POST = b'{"id":"%d","source":"s","published_at":"2026-11-20T10:00:00Z","text":"x"}'
BROKER_MS = 1_795_000_000_000
ENRICHED = TopicPartition("enriched", 0)
ANALYSIS = Analysis(
    language="de",
    language_confidence=0.9,
    sentiment=Sentiment(label="positive", confidence=0.7, probabilities=Probabilities(0.1, 0.2, 0.7)),
    topic=Topic(label="medtop:15000000", name="sport", confidence=0.5, probabilities={}),
    entities=[],
    model=OUTCOMES.model,
)


def output(kind: str, offset: int) -> OutputRecord:
    """What the enrich stage publishes for a record at `offset` of posts.social[0]."""
    value = None if kind == "tombstone" else POST % offset
    source = SourceRecord(TopicPartition("posts.social", 0), offset, BROKER_MS, b"k", value, (), lambda: None)
    draft = OUTCOMES.draft(source, BROKER_MS)
    slot: Slot[OutputRecord] = Slot(offset, lambda: None)
    if not OUTCOMES.decode(draft, slot) and slot.outcome is not None:
        return slot.outcome
    if kind == "dead":
        return OUTCOMES.dead(draft, BadRecord("tokenize", "text_too_long"))
    return OUTCOMES.enriched(draft, ANALYSIS, Story(draft.placed.origin.event_id, copy=False), BROKER_MS)


@dataclass
class Reader:
    """Feeds a stage from logs of `enriched` and `dead`, from any offset."""

    store: MemoryStore = field(default_factory=lambda: MemoryStore(SETTINGS))
    acked: list[tuple[TopicPartition, int]] = field(default_factory=list)

    async def read(self, log: Sequence[OutputRecord], start: int, tp: TopicPartition = ENRICHED) -> AggregateStage:
        stage = AggregateStage(AggregateParts(ROUTES, self.store, SystemClock()), SETTINGS)
        await stage.start()
        for offset, record in list(enumerate(log))[start:]:
            stage.admit(
                SourceRecord(
                    tp, offset, BROKER_MS, record.key, record.value, record.headers,
                    lambda offset=offset: self.acked.append((tp, offset)),
                )
            )  # fmt: skip
            if stage.full:
                await stage.room()
        assert await stage.drain(20)
        return stage

    async def totals(self) -> dict[str, int]:
        """The counters, without the times."""
        totals = await self.store.totals("tid-s:0")
        return {name: count for name, count in totals.items() if count and not name.endswith("_ms")}


@hypothesis_settings(max_examples=25, deadline=None)
@given(st.lists(st.sampled_from(["analysed", "dead", "tombstone"]), min_size=1, max_size=20), st.data())
def test_reading_again_counts_nothing_twice(kinds: list[str], data: st.DataObject) -> None:
    """Whatever is read again, from whatever offset and however often, each source record counts once."""
    log = [output(kind, offset) for offset, kind in enumerate(kinds)]
    starts = data.draw(st.lists(st.integers(0, len(log) - 1), max_size=3))

    async def scenario() -> tuple[dict[str, int], dict[str, int]]:
        once, again = Reader(), Reader()
        await (await once.read(log, 0)).aclose()
        for start in [0, *starts]:
            await (await again.read(log, start)).aclose()
        return await once.totals(), await again.totals()

    once, again = asyncio.run(scenario())
    assert again == once
    assert once.get("analysed", 0) == kinds.count("analysed")
    assert once.get("dead_lettered", 0) == kinds.count("dead")


def test_positions_are_read_back() -> None:
    """A new stage reads on where the store stands, and from the beginning where it has no position."""

    async def scenario() -> dict[TopicPartition, int | None]:
        reader = Reader()
        stage = await reader.read([output("analysed", offset) for offset in range(6)], 0)
        await stage.aclose()
        fresh = AggregateStage(AggregateParts(ROUTES, reader.store, SystemClock()), SETTINGS)
        return await fresh.positions([ENRICHED, TopicPartition("enriched", 1), TopicPartition("dead", 0)])

    nowhere = [TopicPartition("enriched", 1), TopicPartition("dead", 0)]
    assert asyncio.run(scenario()) == {ENRICHED: 6} | dict.fromkeys(nowhere)


def test_acknowledged_in_order_after_the_store() -> None:
    """Offsets are acknowledged in order, foreign records included, which count nothing."""
    foreign = OutputRecord("enriched", None, b"{}", [])
    log = [output("analysed", 0), foreign, output("analysed", 1), output("dead", 2), foreign]

    async def scenario() -> Reader:
        reader = Reader()
        await (await reader.read(log, 0)).aclose()
        return reader

    reader = asyncio.run(scenario())
    assert reader.acked == [(ENRICHED, offset) for offset in range(5)]
    assert asyncio.run(reader.totals())["analysed"] == 2


class AwayOnce(MemoryStore):
    """Fails the first call after having applied it: the reply was lost."""

    failed = False

    async def apply(self, shard: str, consumed: Consumed, outcomes: Sequence[Outcome]) -> Applied:
        applied = await super().apply(shard, consumed, outcomes)
        if not self.failed:
            self.failed = True
            raise StoreUnavailable("the reply was lost")
        return applied


def test_a_lost_reply_counts_nothing_twice() -> None:
    """A batch whose reply was lost is applied again, and counts once."""

    async def scenario() -> dict[str, int]:
        reader = Reader(store=AwayOnce(SETTINGS))
        await (await reader.read([output("analysed", offset) for offset in range(3)], 0)).aclose()
        return await reader.totals()

    assert asyncio.run(scenario())["analysed"] == 3


def test_a_store_that_fell_back_ends_the_process() -> None:
    """When the store forgot what it had confirmed, the stage fails and acknowledges nothing more."""

    async def scenario() -> tuple[BaseException | None, int]:
        reader = Reader()
        stage = await reader.read([output("analysed", 0)], 0)
        reader.store._shards.clear()
        record = output("analysed", 1)
        acked = len(reader.acked)
        stage.admit(
            SourceRecord(
                ENRICHED, 1, BROKER_MS, None, record.value, record.headers, lambda: reader.acked.append((ENRICHED, 1))
            )
        )
        await asyncio.wait({stage.failed}, timeout=20)
        await stage.aclose()
        return stage.failed.exception(), len(reader.acked) - acked

    error, more = asyncio.run(scenario())
    assert isinstance(error, PositionLost)
    assert more == 0


def test_a_log_that_starts_over_behind_the_stored_position_is_refused() -> None:
    """It ends the process, with what to do."""

    async def scenario() -> None:
        reader = Reader()
        await (await reader.read([output("analysed", 0), output("analysed", 1)], 0)).aclose()
        fresh = AggregateStage(AggregateParts(ROUTES, reader.store, SystemClock()), SETTINGS)
        assert await fresh.positions([ENRICHED]) == {ENRICHED: 2}
        record = output("analysed", 0)
        with pytest.raises(PositionLost, match="recreated"):
            fresh.admit(SourceRecord(ENRICHED, 0, BROKER_MS, None, record.value, record.headers, lambda: None))

    asyncio.run(scenario())
