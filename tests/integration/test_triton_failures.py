"""What `TritonInference` makes of a real Triton's failures, with a model that can be told to fail."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path

import pytest

from tests.little_triton import LONG, ROWS, SHORT, TIMEOUT_S, TINY, batch_of
from worker.analysis.triton import TritonAddress, TritonInference
from worker.errors import InferenceRejected, InferenceUnavailable
from worker.local.stack import Addresses, Stack, StackOptions

TESTS = Path(__file__).parent.parent

pytestmark = pytest.mark.integration

REFUSED = [0, 380, 2]  # see fixtures/tiny_models/analyzer/1/model.py
DEADLY = [0, 381, 2]


@pytest.fixture(scope="module")
def triton() -> Iterator[tuple[Stack, Addresses]]:
    """A Triton of this module's own, since it is going to be killed."""
    stack = Stack(StackOptions(servers=("triton",), models_dir=TESTS / "fixtures" / "tiny_models"), print)
    try:
        yield stack, stack.start()
    finally:
        stack.stop()


def run(triton: tuple[Stack, Addresses], test: Callable[[TritonInference], Awaitable[None]]) -> None:
    async def main() -> None:
        inference = TritonInference(TINY, TritonAddress(triton[1].triton_grpc), TIMEOUT_S, ROWS)
        try:
            await test(inference)
        finally:
            await inference.aclose()

    asyncio.run(main())


def test_refused_batches(triton: tuple[Stack, Addresses]):
    """An exception in the model and a batch of too many rows are InferenceRejected, and leave the model as it was."""

    async def test(inference: TritonInference) -> None:
        await inference.check()
        for batch in (batch_of(LONG, REFUSED), batch_of(*[SHORT] * (ROWS + 1))):
            with pytest.raises(InferenceRejected):
                await inference.infer(batch)
        await inference.infer(batch_of(SHORT))

    run(triton, test)


def test_text_that_kills_the_model(triton: tuple[Stack, Addresses]):
    """A text that kills a model process is an outage of that call, and the next calls find the model whole again."""

    async def test(inference: TritonInference) -> None:
        for _ in range(2):
            with pytest.raises(InferenceUnavailable, match="it was loaded again"):
                await inference.infer(batch_of(SHORT, DEADLY))
            for _ in range(8):  # more than there are processes
                await inference.infer(batch_of(SHORT))
        await inference.check()

    run(triton, test)


def test_killed_server_comes_back(triton: tuple[Stack, Addresses]):
    """A killed server is an outage; the same connection works again once it is back."""

    async def test(inference: TritonInference) -> None:
        await inference.infer(batch_of(SHORT))
        triton[0].kill("triton")
        for call in (inference.check, lambda: inference.infer(batch_of(SHORT))):
            with pytest.raises(InferenceUnavailable):
                await call()
        await asyncio.to_thread(triton[0].restart, "triton")
        async with asyncio.timeout(20):
            while True:
                try:
                    await inference.infer(batch_of(SHORT))
                    break
                except InferenceUnavailable:
                    await asyncio.sleep(0.1)  # between two looks

    run(triton, test)
