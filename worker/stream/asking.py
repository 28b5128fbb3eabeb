"""Who answers a window: the memory of this process, the one that workers share, or the model; asked in this order."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from worker.analysis.batching import collate
from worker.analysis.decode import split_rows
from worker.analysis.inference import Inference, Logits
from worker.analysis.prepare import Preparer, Window
from worker.analysis.seen import SeenWindows
from worker.stream.shared_answers import SharedAnswers
from worker.stream.work import Unit
from worker.telemetry import BATCH_POSTS, TOKENS, WINDOWS

CANARY_TEXT = "The company reported record profits in London."


class Asking:
    """Answers windows; only what nobody knows reaches the model, and no failure is remembered.

    Args:
        preparer: makes the canary; its bundle is the model's.
        seen: the memory of this process.
        shared: that of all workers; None: there is none.
    """

    def __init__(
        self, preparer: Preparer, inference: Inference, seen: SeenWindows, shared: SharedAnswers | None
    ) -> None:
        self._preparer = preparer
        self._inference = inference
        self._seen = seen
        self._ask = self._ask_model if shared is None else partial(shared.answers, infer=self._ask_model)

    def known(self, unit: Unit) -> Logits | None:
        """What this process was answered before; counted."""
        answer = self._seen.get(unit.window)
        if answer is not None:
            WINDOWS.labels(answer="memory").inc()
        return answer

    async def infer(self, units: Sequence[Unit]) -> list[Logits]:
        """The answer to each unit of a batch, [1, ...] in order.

        Raises:
            InferenceUnavailable, InferenceRejected, ModelInvalid: as `Inference.infer`.
        """
        BATCH_POSTS.observe(len(units))
        return await self._seen.answers([unit.window for unit in units], self._ask)

    async def canary(self) -> None:
        """Have the model read a known-good text; raises as `infer`."""
        await self._inference.infer(collate(self._preparer.prepare(CANARY_TEXT).windows, self._preparer.bundle.pad_id))

    async def _ask_model(self, windows: Sequence[Window]) -> list[Logits]:
        batch = collate(windows, self._preparer.bundle.pad_id)
        real = sum(window.length for window in windows)
        TOKENS.labels(kind="real").inc(real)
        TOKENS.labels(kind="padded").inc(batch.input_ids.size - real)
        answers = split_rows(await self._inference.infer(batch))
        WINDOWS.labels(answer="model").inc(len(windows))
        return answers
