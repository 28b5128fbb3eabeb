"""Answers kept in memory: the same as the model's, asked for once, bounded, and never a failure."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.analysis.batching import collate
from worker.analysis.bundle import Bundle
from worker.analysis.decode import decode, split_rows
from worker.analysis.inference import Logits, ScriptedInference
from worker.analysis.prepare import Prepared, Preparer, Window
from worker.analysis.seen import ENTRY_BYTES, SeenWindows
from worker.errors import InferenceUnavailable
from worker.text.language import Identifier

BUNDLE = Bundle.load(Path(__file__).parent.parent / "fixtures" / "tiny_models" / "analyzer" / "1")
PREPARER = Preparer(BUNDLE, Identifier(), max_windows=8)
AMPLE_BYTES = 10_000_000
run = (
    asyncio.new_event_loop().run_until_complete
)  # asyncio.run in a property takes 10 ms: it renders its signal handler

windows = st.lists(st.integers(4, 60), min_size=1, max_size=12).map(
    lambda ids: Window(np.array(ids, np.int32), first=0)
)


class Asked:
    """The scripted model as `SeenWindows` asks it, and what was asked."""

    def __init__(self) -> None:
        self.model = ScriptedInference(topics=len(BUNDLE.topics))
        self.windows: list[tuple[int, ...]] = []

    async def __call__(self, asked: Sequence[Window]) -> list[Logits]:
        self.windows += [tuple(window.ids.tolist()) for window in asked]
        return split_rows(await self.model.infer(collate(asked, BUNDLE.pad_id)))


def answers(seen: SeenWindows, asked: Asked, batch: Sequence[Window]) -> list[Logits]:
    return run(seen.answers(batch, asked))


@given(st.lists(st.lists(windows, min_size=1, max_size=6), min_size=1, max_size=5))
def test_answers_are_the_models_and_no_window_is_asked_twice(batches: list[list[Window]]) -> None:
    """Whatever repeats, inside a batch or later, each answer is the one of its own tokens."""
    seen, asked, plain = SeenWindows(AMPLE_BYTES), Asked(), Asked()
    for batch in batches:
        for window, answer in zip(batch, answers(seen, asked, batch), strict=True):
            [wanted] = run(plain([window]))
            np.testing.assert_array_equal(answer.sentiment, wanted.sentiment)
            np.testing.assert_array_equal(answer.topic, wanted.topic)
            np.testing.assert_array_equal(answer.tags[:, : window.length], wanted.tags)
            np.testing.assert_array_equal(answer.token_sentiment[:, : window.length], wanted.token_sentiment)
    assert len(asked.windows) == len(set(asked.windows))


@given(st.lists(windows, min_size=1, max_size=30, unique_by=lambda window: tuple(window.ids)))
def test_memory_is_bounded_and_what_was_used_last_stays(asked_for: list[Window]) -> None:
    """Room for about three answers keeps no more, and the newest is among them."""
    limit_bytes = 3 * (ENTRY_BYTES + 1200)
    seen, asked = SeenWindows(limit_bytes), Asked()
    for window in asked_for:
        answers(seen, asked, [window])
        assert len(seen) * ENTRY_BYTES <= limit_bytes
        assert seen.get(window) is not None


def test_without_memory_equal_windows_of_one_batch_still_travel_once() -> None:
    """A limit of 0 keeps nothing for later."""
    seen, asked = SeenWindows(0), Asked()
    window = Window(np.array([5, 6, 7], np.int32), first=0)
    first, second = answers(seen, asked, [window, window])
    assert first is second
    answers(seen, asked, [window])
    assert asked.windows == [(5, 6, 7)] * 2
    assert len(seen) == 0


def test_a_failure_is_not_kept() -> None:
    """After an outage the same window is asked again."""
    seen, asked = SeenWindows(AMPLE_BYTES), Asked()
    window = Window(np.array([5, 6, 7], np.int32), first=0)
    asked.model.failure = "outage"
    with pytest.raises(InferenceUnavailable):
        answers(seen, asked, [window])
    asked.model.failure = None
    answers(seen, asked, [window])
    assert len(asked.windows) == 2


names = st.text(st.characters(codec="ascii", categories=("Ll", "Lu", "Nd")), min_size=1, max_size=12)


@given(st.lists(st.tuples(names, names), min_size=2, max_size=4))
def test_a_post_answered_from_memory_is_the_post_answered_by_the_model(variants: list[tuple[str, str]]) -> None:
    """Other mentions and links around the same words: one inference, and spans of each original text."""
    seen, asked, plain = SeenWindows(AMPLE_BYTES), Asked(), Asked()
    for name, path in variants:
        text = f"RT @{name} Siemens fell in Berlin today https://example.com/{path} \U0001f4c9"
        prepared = PREPARER.prepare(text)
        assert isinstance(prepared, Prepared)
        from_memory = decode(prepared, answers(seen, asked, prepared.windows), BUNDLE, 0.0)
        assert from_memory == decode(prepared, run(plain(prepared.windows)), BUNDLE, 0.0)
        assert all(text[entity.start : entity.end] == entity.text for entity in from_memory.entities)
    assert len(asked.windows) == len(prepared.windows)
