"""Answers that workers share: the model's own, asked for once, and never in the way."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from structlog.testing import capture_logs

from tests.unit.test_analysis_seen import AMPLE_BYTES, BUNDLE, PREPARER, Asked, names, run, windows
from worker.analysis.bundle import Bundle
from worker.analysis.decode import decode
from worker.analysis.inference import Logits
from worker.analysis.packed import pack, unpack
from worker.analysis.prepare import Prepared, Window
from worker.analysis.seen import SeenWindows
from worker.errors import ConfigInvalid, InferenceUnavailable
from worker.events import ModelRef
from worker.opinion.answer_store import MemoryAnswers
from worker.stream.shared_answers import SharedAnswers
from worker.telemetry import REGISTRY, Log
from worker.timing import ManualClock

TOPICS = len(BUNDLE.topics)
WINDOW = Window(np.array([5, 6, 7], np.int32), first=0)
OTHER = Window(np.array([8, 9], np.int32), first=0)


class Worker:
    """A process: its own memory before the shared one, and a model."""

    def __init__(self, store: MemoryAnswers, clock: ManualClock | None = None, bundle: Bundle = BUNDLE) -> None:
        self.asked = Asked()
        self._seen = SeenWindows(AMPLE_BYTES)
        self._shared = SharedAnswers(store, bundle, clock or ManualClock())

    def answers(self, batch: Sequence[Window]) -> list[Logits]:
        return run(self._seen.answers(batch, lambda unknown: self._shared.answers(unknown, self.asked)))


def by_model(batch: Sequence[Window]) -> list[Logits]:
    return [answer for window in batch for answer in run(Asked()([window]))]


def assert_equal(found: Sequence[Logits], batch: Sequence[Window]) -> None:
    """Each answer is the model's, bit by bit."""
    for window, answer, wanted in zip(batch, found, by_model(batch), strict=True):
        assert pack(answer, window.length) == pack(wanted, window.length)


def missed(reason: str) -> float:
    return REGISTRY.get_sample_value("polyvox_shared_answers_missed_total", {"reason": reason}) or 0.0


@given(windows)
def test_a_packed_answer_is_the_answer(window: Window) -> None:
    """Bit by bit, in the shapes of a row, whatever padding it came with."""
    [answer] = by_model([window])
    padded = replace(
        answer,
        tags=np.pad(answer.tags, ((0, 0), (0, 3), (0, 0)), constant_values=np.nan),
        token_sentiment=np.pad(answer.token_sentiment, ((0, 0), (0, 3), (0, 0))),
    )
    found = unpack(pack(padded, window.length), window.length, TOPICS)
    assert found is not None
    for name in ("sentiment", "topic", "tags", "token_sentiment"):
        got, wanted = getattr(found, name), getattr(answer, name)
        assert got.dtype == np.float32
        np.testing.assert_array_equal(got, wanted)


PACKED = pack(by_model([WINDOW])[0], WINDOW.length)
NOT_FINITE = pack(replace(by_model([WINDOW])[0], topic=np.full((1, TOPICS), np.nan, np.float32)), WINDOW.length)
TOO_SHORT = pack(replace(by_model([WINDOW])[0], tags=np.zeros((1, 2, 7), np.float32)), WINDOW.length)
BROKEN = {
    "empty": b"",
    "cut": PACKED[:-1],
    "header alone": PACKED[:12],
    "longer": PACKED + b"\0" * 4,
    "another format": b"pva2" + PACKED[4:],
    "another window's": pack(by_model([OTHER])[0], OTHER.length),
    "fewer tokens than it says": TOO_SHORT,
    "not finite": NOT_FINITE,
    "foreign": b"a text that somebody else put there, longer than a header",
}


@pytest.mark.parametrize("value", BROKEN.values(), ids=BROKEN.keys())
def test_a_broken_value_is_unknown_and_is_replaced(value: bytes) -> None:
    """What no worker writes is counted, the model is asked, and its answer takes the place."""
    store, before = MemoryAnswers(), missed("broken")
    Worker(store).answers([WINDOW])
    [question] = store.answers
    store.answers[question] = value
    worker = Worker(store)
    assert_equal(worker.answers([WINDOW]), [WINDOW])
    assert missed("broken") == before + 1
    assert len(worker.asked.windows) == 1
    assert store.answers[question] == PACKED


@given(st.integers(0, 8 * len(PACKED) - 1))
def test_a_flipped_bit_is_no_answer(bit: int) -> None:
    """Any one bit of a value."""
    value = bytearray(PACKED)
    value[bit // 8] ^= 1 << bit % 8
    assert unpack(bytes(value), WINDOW.length, TOPICS) is None


@given(st.lists(st.tuples(st.integers(0, 2), st.lists(windows, min_size=1, max_size=6)), min_size=1, max_size=6))
def test_no_window_is_asked_twice_by_workers_that_share(batches: list[tuple[int, list[Window]]]) -> None:
    """Whoever reads whatever in any order: each answer is the model's, and it is asked once for each window."""
    store = MemoryAnswers()
    workers = [Worker(store) for _ in range(3)]
    for number, batch in batches:
        assert_equal(workers[number].answers(batch), batch)
    asked = [window for worker in workers for window in worker.asked.windows]
    assert len(asked) == len(set(asked)) == len(store.answers)


@given(st.lists(st.tuples(names, names), min_size=2, max_size=4))
def test_a_post_answered_by_another_workers_answer_is_the_post_answered_by_the_model(
    variants: list[tuple[str, str]],
) -> None:
    """Other mentions and links around the same words, each read by a new process: one inference, spans of each text."""
    store, inferred = MemoryAnswers(), 0
    for name, path in variants:
        text = f"RT @{name} Siemens fell in Berlin today https://example.com/{path} \U0001f4c9"
        prepared = PREPARER.prepare(text)
        assert isinstance(prepared, Prepared)
        worker = Worker(store)
        shared = decode(prepared, worker.answers(prepared.windows), BUNDLE, 0.0)
        assert shared == decode(prepared, by_model(prepared.windows), BUNDLE, 0.0)
        assert all(text[entity.start : entity.end] == entity.text for entity in shared.entities)
        inferred += len(worker.asked.windows)
    assert inferred == len(prepared.windows)


def test_one_call_a_batch_each_way_and_none_for_what_the_process_knows() -> None:
    """A batch costs one look-up and one write; what the shared memory answered is then known in the process."""
    store = MemoryAnswers()
    Worker(store).answers([WINDOW, OTHER])
    assert store.calls == [("get", 2), ("put", 2)]
    store.calls.clear()
    worker = Worker(store)
    for _ in range(3):
        worker.answers([WINDOW, OTHER])
    assert store.calls == [("get", 2)]
    assert worker.asked.windows == []


def test_an_answer_of_another_model_is_not_found() -> None:
    """A deployment finds nothing of the one before, and each its own after a roll-back."""
    store, newer = MemoryAnswers(), replace(BUNDLE, model=ModelRef("analyzer", "analyzer:2.0.0+bbbbbbbb"))
    for bundle, asks in ((BUNDLE, 1), (newer, 1), (BUNDLE, 0), (newer, 0)):
        worker = Worker(store, bundle=bundle)
        worker.answers([WINDOW])
        assert len(worker.asked.windows) == asks


def test_a_failure_of_the_model_is_not_kept() -> None:
    """It is passed on, nothing is stored, and whoever comes next asks the model."""
    store = MemoryAnswers()
    worker = Worker(store)
    worker.asked.model.failure = "outage"
    with pytest.raises(InferenceUnavailable):
        worker.answers([WINDOW])
    assert store.calls == [("get", 1)]
    later = Worker(store)
    later.answers([WINDOW])
    assert len(later.asked.windows) == 1


def test_a_store_that_is_away_is_asked_seldom_warned_about_once_and_used_again() -> None:
    """Meanwhile the model answers everything, ten batches a second, and few of them wait for the store's deadline."""
    store, clock, before = MemoryAnswers(away=True), ManualClock(), missed("away")
    worker = Worker(store, clock)
    batches = [[Window(np.array([5, number], np.int32), first=0)] for number in range(1000)]
    with capture_logs() as logs:
        for batch in batches:
            assert_equal(worker.answers(batch), batch)
            clock.advance(0.1)
    assert [line["event"] for line in logs] == [Log.SHARED_ANSWERS_AWAY]
    assert missed("away") == before + 1000
    assert 0 < len(store.calls) < 200
    assert {call for call, _ in store.calls} == {"get"}
    store.away = False
    clock.advance(10)
    worker.answers([WINDOW])
    Worker(store).answers([WINDOW])
    assert store.calls[-3:] == [("get", 1), ("put", 1), ("get", 1)]


def test_a_full_store_still_answers_and_is_warned_about_once() -> None:
    """What it holds is found; what is new is not kept until there is room."""
    store, clock = MemoryAnswers(), ManualClock()
    Worker(store).answers([WINDOW])
    store.full = True
    worker = Worker(store, clock)
    with capture_logs() as logs:
        for number in range(100):
            batch = [Window(np.array([5, number], np.int32), first=0)]
            assert_equal(worker.answers(batch), batch)
            clock.advance(1)
        worker.answers([WINDOW])
    assert [line["event"] for line in logs] == [Log.SHARED_ANSWERS_AWAY]
    assert WINDOW.ids.tolist() not in [list(window) for window in worker.asked.windows]
    store.full = False
    clock.advance(10)
    worker.answers([OTHER])
    assert len(store.answers) == 2


def test_a_store_that_refuses_is_no_error() -> None:
    """Rights that are missing are a miss, too: a memory that only saves work ends no process."""

    class Refusing(MemoryAnswers):
        async def get_many(self, questions: Sequence[bytes]) -> list[bytes | None]:
            raise ConfigInvalid("no rights")

    assert_equal(Worker(Refusing()).answers([WINDOW]), [WINDOW])


def test_batches_in_flight_wait_for_no_other() -> None:
    """While the store is asked for one batch, another goes its way."""

    async def main() -> None:
        release, asked = asyncio.Event(), Asked()

        class Slow(MemoryAnswers):
            async def get_many(self, questions: Sequence[bytes]) -> list[bytes | None]:
                if not self.calls:
                    self.calls.append(("get", 1))
                    await release.wait()
                return await super().get_many(questions)

        shared = SharedAnswers(Slow(), BUNDLE, ManualClock())
        first = asyncio.create_task(shared.answers([WINDOW], asked))
        await asyncio.sleep(0)
        await shared.answers([OTHER], asked)
        assert not first.done()
        release.set()
        await first

    run(main())
