"""Answers that all workers share: what one of them asked, no other asks again, also after a restart.

The shared memory may only save work: away, slow, full or broken, it is as if it knew nothing, and the model is asked.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import TypeVar

from worker.analysis.bundle import Bundle
from worker.analysis.inference import Logits
from worker.analysis.packed import pack, unpack
from worker.analysis.prepare import Window
from worker.errors import ConfigInvalid, StoreUnavailable
from worker.opinion.answer_store import AnswerStore
from worker.stream.breaker import Breaker
from worker.telemetry import SHARED_ANSWERS_MISSED, STAGE_SECONDS, WINDOWS, Log, get_logger
from worker.timing import Backoff, Clock

Result = TypeVar("Result")

REFUSALS = (StoreUnavailable, ConfigInvalid)


class SharedAnswers:
    """Looks windows up before the model is asked, and keeps what it answers. One call a batch for each of the two.

    Looking up and keeping fail apart, since a full Redis still answers; while one of them fails it is tried seldom.

    Args:
        store: keeps bytes by question: the model's version and the tokens of a window.
        bundle: the model that `infer` of `answers` asks.
        clock: when a store that failed is tried again.
    """

    def __init__(self, store: AnswerStore, bundle: Bundle, clock: Clock) -> None:
        self._store = store
        self._version = bundle.model.version.encode() + b"\0"
        self._topics = len(bundle.topics)
        self._look_up, self._keep = (Breaker(clock, Backoff()) for _ in range(2))

    async def answers(
        self, windows: Sequence[Window], infer: Callable[[Sequence[Window]], Awaitable[Sequence[Logits]]]
    ) -> list[Logits]:
        """The answer to each window, in order, [1, ...] each.

        Args:
            windows: at least one, no two equal.
            infer: answers [1, ...] in order; what it raises is passed on, and nothing is kept then.
        """
        found = await self._found(windows)
        unknown = [window for window, answer in zip(windows, found, strict=True) if answer is None]
        if not unknown:
            return [answer for answer in found if answer is not None]
        inferred = await infer(unknown)
        if self._look_up.closed:  # a store that is known to be away costs no second deadline
            packed = {
                self._question(window): pack(answer, window.length)
                for window, answer in zip(unknown, inferred, strict=True)
            }
            await self._try(self._keep, lambda: self._store.put_many(packed))
        asked = iter(inferred)
        return [next(asked) if answer is None else answer for answer in found]

    def _question(self, window: Window) -> bytes:
        return self._version + window.ids.astype("<i4").tobytes()

    async def _found(self, windows: Sequence[Window]) -> list[Logits | None]:
        """What the store knows; what is broken there is unknown, and counted."""
        questions = [self._question(window) for window in windows]
        values = await self._try(self._look_up, lambda: self._store.get_many(questions))
        if values is None:
            SHARED_ANSWERS_MISSED.labels(reason="away").inc(len(windows))
            return [None] * len(windows)
        found = [
            None if value is None else unpack(value, window.length, self._topics)
            for window, value in zip(windows, values, strict=True)
        ]
        absent, unusable = values.count(None), found.count(None)
        SHARED_ANSWERS_MISSED.labels(reason="unknown").inc(absent)
        SHARED_ANSWERS_MISSED.labels(reason="broken").inc(unusable - absent)
        WINDOWS.labels(answer="shared").inc(len(found) - unusable)
        return found

    async def _try(self, breaker: Breaker, call: Callable[[], Awaitable[Result]]) -> Result | None:
        """What the call returns; None when the store does not answer, or is known not to."""
        permit = breaker.permit()
        if permit is None:
            return None
        try:
            with STAGE_SECONDS.labels(stage="shared").time():
                result = await call()
        except REFUSALS as error:
            if self._look_up.closed and self._keep.closed:
                get_logger().warning(Log.SHARED_ANSWERS_AWAY, error=str(error))
            breaker.failed(permit)
            return None
        breaker.succeeded(permit)
        return result
