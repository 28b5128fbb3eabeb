"""One suite over every `Inference`: the scripted fake, the embedded engine, and Triton's client.

Triton's client talks real gRPC to a small server in this process; the cases marked `integration` run the same suite
against a real Triton with the shipped model.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from tests.little_triton import LONG, ROWS, SHORT, TIMEOUT_S, TINY, LittleTriton, batch_of, closing, little_triton, run
from worker.analysis.bundle import Bundle
from worker.analysis.embedded import EmbeddedInference
from worker.analysis.inference import Inference, Logits, ScriptedInference, validate
from worker.analysis.triton import TritonAddress, TritonInference
from worker.errors import InferenceUnavailable

MODELS = Path(__file__).parent.parent.parent / "triton_models"


@dataclass(frozen=True)
class Subject:
    """An implementation under test and the bundle that it runs."""

    open: Callable[[], AbstractAsyncContextManager[Inference]]
    bundle: Bundle


SUBJECTS = {
    "scripted": Subject(lambda: closing(ScriptedInference(len(TINY.topics))), TINY),
    "embedded": Subject(lambda: closing(EmbeddedInference(TINY, TIMEOUT_S)), TINY),
    "triton_client": Subject(lambda: little_triton(LittleTriton()), TINY),
}


@pytest.fixture(params=[*SUBJECTS, pytest.param("triton", marks=pytest.mark.integration)])
def subject(request: pytest.FixtureRequest) -> Iterator[Subject]:
    """Each implementation in turn; `triton` is the running stack with the shipped model."""
    if request.param != "triton":
        yield SUBJECTS[request.param]
        return
    addresses = request.getfixturevalue("stack")
    bundle = Bundle.load(MODELS / "analyzer" / "1")
    address = TritonAddress(addresses.triton_grpc)
    yield Subject(lambda: closing(TritonInference(bundle, address, TIMEOUT_S, ROWS)), bundle)


def probabilities(logits: np.ndarray) -> np.ndarray:
    exponentials = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return exponentials / exponentials.sum(axis=-1, keepdims=True)


def test_check_passes_and_answers_have_the_shapes(subject: Subject):
    """A model that is what the bundle says passes `check`, and answers float32 [B,3], [B,K] and [B,T,7]."""

    async def test(inference: Inference) -> None:
        await inference.check()
        for rows in ([SHORT], [LONG, SHORT, SHORT], [SHORT] * ROWS):
            batch = batch_of(*rows)
            validate(await inference.infer(batch), batch, len(subject.bundle.topics))

    run(subject.open, test)


def test_logits_do_not_depend_on_company_or_padding(subject: Subject):
    """A text alone, padded, and among longer ones has equal probabilities within 1e-3 (promise 2.6)."""

    async def test(inference: Inference) -> None:
        alone = await inference.infer(batch_of(SHORT))
        padded = await inference.infer(batch_of(SHORT, width=30))
        among = await inference.infer(batch_of(LONG, SHORT, LONG))
        for other, row in ((padded, 0), (among, 1)):
            for left, right in (
                (alone.sentiment[0], other.sentiment[row]),
                (alone.topic[0], other.topic[row]),
                (alone.tags[0], other.tags[row, : len(SHORT)]),
            ):
                assert np.abs(probabilities(left) - probabilities(right)).max() < 1e-3

    run(subject.open, test)


def test_calls_may_overlap(subject: Subject):
    """Many calls at once each get the answer to their own batch."""

    async def test(inference: Inference) -> None:
        batches = [batch_of([0, 10 + at, 2]) for at in range(12)]
        alone = [await inference.infer(batch) for batch in batches]
        together = await asyncio.gather(*(inference.infer(batch) for batch in batches))
        for left, right in zip(alone, together, strict=True):
            np.testing.assert_allclose(left.sentiment, right.sentiment, atol=1e-4)

    run(subject.open, test)


def test_closed_is_unavailable(subject: Subject):
    """After `aclose`, which may be called twice, calls raise InferenceUnavailable instead of hanging."""

    async def test(inference: Inference) -> None:
        await inference.infer(batch_of(SHORT))
        await inference.aclose()
        await inference.aclose()
        for call in (inference.check, lambda: inference.infer(batch_of(SHORT))):
            with pytest.raises(InferenceUnavailable):
                await call()

    run(subject.open, test)


def test_closing_ends_calls_as_an_outage(subject: Subject):
    """Calls under way when it is closed end with an answer or InferenceUnavailable; their tasks are not cancelled."""

    async def test(inference: Inference) -> None:
        calls = [asyncio.create_task(inference.infer(batch_of(LONG, SHORT))) for _ in range(30)]
        await asyncio.sleep(0)  # lets every call begin
        await inference.aclose()
        for end in await asyncio.gather(*calls, return_exceptions=True):
            assert isinstance(end, (Logits, InferenceUnavailable))

    run(subject.open, test)
