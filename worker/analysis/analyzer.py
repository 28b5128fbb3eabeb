"""Texts in, analyses out, through any `Inference`: what `polyvox analyze` and the model `analyze_text` run."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

from worker.analysis.batching import Pool, TokenBudget, collate
from worker.analysis.decode import decode, split_rows
from worker.analysis.inference import Inference, Logits
from worker.analysis.prepare import Prepared, Preparer, Window
from worker.errors import BadRecord, InferenceRejected
from worker.events import Analysis


@dataclass(frozen=True, slots=True)
class _Place:
    """A window and where its answer goes: text and window number."""

    text: int
    number: int
    window: Window

    @property
    def length(self) -> int:
        return self.window.length


@dataclass(frozen=True)
class Analyzer:
    """Analyses texts in batches; `in_flight` batches run at once.

    Args:
        abstain_below: sentiment under this confidence is marked as abstained.
    """

    preparer: Preparer
    inference: Inference
    budget: TokenBudget
    abstain_below: float = 0.0
    in_flight: int = 2

    async def analyze(self, texts: Sequence[tuple[str, str | None]]) -> list[Analysis | BadRecord]:
        """Analyse (text, language hint) pairs; the answer has their order, and a bad text takes no other with it.

        All texts and their tokens are held at once: give it some thousand at a time.

        Raises:
            InferenceUnavailable, ModelInvalid: as `Inference.infer`.
        """
        bundle = self.preparer.bundle
        return [
            each if isinstance(each, BadRecord) else decode(*each, bundle, self.abstain_below)
            for each in await self.answers(texts)
        ]

    async def answers(self, texts: Sequence[tuple[str, str | None]]) -> list[tuple[Prepared, list[Logits]] | BadRecord]:
        """What `analyze` decodes: each text as it was prepared, with the model's answer to each of its windows."""
        prepared = await asyncio.to_thread(self.preparer.prepare_many, texts)
        pool: Pool[_Place] = Pool()
        for at, each in enumerate(prepared):
            if isinstance(each, Prepared):
                for number, window in enumerate(each.windows):
                    pool.add(_Place(at, number, window))
        answers = await self._infer_all(pool)
        return [_with_answers(at, each, answers) for at, each in enumerate(prepared)]

    async def _infer_all(self, pool: Pool[_Place]) -> dict[tuple[int, int], Logits | BadRecord]:
        """Empty the pool; the answer to each window by (text, window number)."""
        answers: dict[tuple[int, int], Logits | BadRecord] = {}

        async def work() -> None:
            while batch := pool.take(self.budget):
                answers.update(await self._infer(batch))

        # Not a TaskGroup: that cancels the calls beside a failed one, and a cancelled call can crash Triton.
        ends = await asyncio.gather(*(work() for _ in range(self.in_flight)), return_exceptions=True)
        for end in ends:
            if end is not None:
                raise end
        return answers

    async def _infer(self, batch: list[_Place]) -> dict[tuple[int, int], Logits | BadRecord]:
        """Run one batch; a rejected one is halved until the windows that cannot pass stand alone."""
        try:
            logits = await self.inference.infer(collate([place.window for place in batch], self.preparer.bundle.pad_id))
        except InferenceRejected as error:
            if len(batch) == 1:
                return {(batch[0].text, batch[0].number): BadRecord("infer", "rejected", str(error))}
            middle = len(batch) // 2
            return {**await self._infer(batch[:middle]), **await self._infer(batch[middle:])}
        return {(place.text, place.number): row for place, row in zip(batch, split_rows(logits), strict=True)}


def _with_answers(
    at: int, prepared: Prepared | BadRecord, answers: dict[tuple[int, int], Logits | BadRecord]
) -> tuple[Prepared, list[Logits]] | BadRecord:
    """One text with the answers to all its windows, or why it has none."""
    if isinstance(prepared, BadRecord):
        return prepared
    rows: list[Logits] = []
    for number in range(len(prepared.windows)):
        answer = answers[at, number]
        if isinstance(answer, BadRecord):
            return answer
        rows.append(answer)
    return prepared, rows
