"""What each `Inference` makes of failures: one of three errors, with the place, and never an answer to rely on."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import grpc
import msgspec
import numpy as np
import pytest
from tritonclient.grpc import service_pb2_grpc

from tests.little_triton import LONG, ROWS, SHORT, TIMEOUT_S, TINY, LittleTriton, batch_of, closing, little_triton, run
from worker.analysis.embedded import EmbeddedInference
from worker.analysis.inference import Inference, Logits, ScriptedInference, validate
from worker.analysis.triton import ERRORS, TRIES, VERSION_PARAMETER, TritonAddress, TritonInference
from worker.errors import InferenceRejected, InferenceUnavailable, ModelDied, ModelInvalid


@pytest.mark.parametrize("kind", ["scripted", "triton_client"])
@pytest.mark.parametrize("failure", ["wrong_shapes", "nan"])
def test_unusable_answers_are_refused(kind: str, failure: str):
    """Wrong shapes, NaN and infinity never get past `infer`."""

    def break_shapes(outputs: dict[str, np.ndarray]) -> None:
        outputs["topic_logits"] = outputs["topic_logits"][:, :-1]

    def break_values(outputs: dict[str, np.ndarray]) -> None:
        outputs["tag_logits"][0, 0, 0] = np.inf

    servicer = LittleTriton()
    servicer.change = break_shapes if failure == "wrong_shapes" else break_values
    scripted = ScriptedInference(len(TINY.topics), failure=failure)  # type: ignore[arg-type]
    opens = {"scripted": lambda: closing(scripted), "triton_client": lambda: little_triton(servicer)}

    async def test(inference: Inference) -> None:
        with pytest.raises(ModelInvalid):
            await inference.infer(batch_of(SHORT))

    run(opens[kind], test)


def lacks_output(outputs: dict[str, np.ndarray]) -> None:
    del outputs["tag_logits"]


def is_integer(outputs: dict[str, np.ndarray]) -> None:
    outputs["sentiment_logits"] = outputs["sentiment_logits"].astype(np.int64)


@pytest.mark.parametrize("change", [lacks_output, is_integer])
def test_malformed_answers_are_refused(change: Callable[[dict[str, np.ndarray]], None]):
    """An answer without an output, or with one of another type, is ModelInvalid."""
    servicer = LittleTriton()
    servicer.change = change

    async def test(inference: Inference) -> None:
        with pytest.raises(ModelInvalid):
            await inference.infer(batch_of(SHORT))

    run(lambda: little_triton(servicer), test)


@pytest.mark.parametrize("logits_of", ["sentiment", "topic", "tags"])
def test_validate_looks_at_every_tensor(logits_of: str):
    """`validate` refuses a wrong type, a wrong rank and a value that is not finite in each tensor."""
    batch = batch_of(SHORT)
    good = Logits(*(np.zeros(shape, np.float32) for shape in ((1, 3), (1, 4), (1, 3, 7), (1, 3, 3))))
    validate(good, batch, 4)
    array = getattr(good, logits_of)
    for bad in (array.astype(np.float64), array[0], np.full_like(array, np.nan), np.full_like(array, -np.inf)):
        with pytest.raises(ModelInvalid, match=f"the model's {logits_of} logits"):
            validate(replace(good, **{logits_of: bad}), batch, 4)


def test_every_status_has_its_error():
    """The table covers all of gRPC's codes but OK: a code without an entry would be mapped by accident."""
    assert set(ERRORS) == set(grpc.StatusCode) - {grpc.StatusCode.OK}
    assert set(ERRORS.values()) == {InferenceUnavailable, InferenceRejected, ModelInvalid}


@pytest.mark.parametrize("code", ERRORS, ids=str)
def test_status_becomes_our_error(code: grpc.StatusCode):
    """Each code that a server sends arrives as the error of the table, with the server, the model and the words."""
    servicer = LittleTriton()
    servicer.status = code

    async def test(inference: Inference) -> None:
        with pytest.raises(ERRORS[code], match=rf"Triton at .* answered {code.name} for model 'analyzer': as told"):
            await inference.infer(batch_of(SHORT))

    run(lambda: little_triton(servicer), test)


def test_deadline_ends_a_hanging_call():
    """A model that never answers is InferenceUnavailable at the deadline."""
    servicer = LittleTriton()
    servicer.hang = True

    async def test(inference: Inference) -> None:
        with pytest.raises(InferenceUnavailable, match="DEADLINE_EXCEEDED"):
            async with asyncio.timeout(10):  # far behind the deadline
                await inference.infer(batch_of(SHORT))

    run(lambda: little_triton(servicer, timeout_s=0.2), test)


@pytest.mark.parametrize("may_load", [True, False])
def test_dead_model_is_loaded_again(may_load: bool):
    """A model whose process died is an outage and is loaded again, once for all calls that found it dead."""
    servicer = LittleTriton()
    servicer.status, servicer.words = grpc.StatusCode.INTERNAL, "Stub process 'analyzer_0_0' is not healthy."
    servicer.may_load = may_load

    async def test(inference: Inference) -> None:
        calls = (inference.infer(batch_of(SHORT)) for _ in range(5))
        ends = await asyncio.gather(*calls, return_exceptions=True)
        assert all(isinstance(end, InferenceUnavailable) for end in ends)
        assert servicer.loads == 1
        assert all(("it was loaded again" if may_load else "cannot be loaded again") in str(end) for end in ends)
        if may_load:
            await inference.infer(batch_of(SHORT))
            await inference.check()

    run(lambda: little_triton(servicer), test)


def test_cancelling_a_call_cancels_it():
    """A caller that is cancelled ends with CancelledError, not with one of our errors."""
    servicer = LittleTriton()
    servicer.hang = True

    async def test(inference: Inference) -> None:
        task = asyncio.create_task(inference.infer(batch_of(SHORT)))
        await servicer.called.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    run(lambda: little_triton(servicer), test)


def test_closing_ends_a_hanging_call():
    """Closing ends a call that Triton would never answer, as an outage."""
    servicer = LittleTriton()
    servicer.hang = True

    async def test(inference: Inference) -> None:
        task = asyncio.create_task(inference.infer(batch_of(SHORT)))
        await servicer.called.wait()
        await inference.aclose()
        with pytest.raises(InferenceUnavailable, match="was closed"):
            await task

    run(lambda: little_triton(servicer), test)


class FailingFirst(LittleTriton):
    """Fails its first calls with one status and its words; counts all."""

    def __init__(self, failures: int, words: str) -> None:
        super().__init__()
        self.left, self.calls, self.words = failures, 0, words

    async def ModelInfer(self, request: Any, context: Any) -> Any:  # noqa: N802 - the protocol names it
        self.calls += 1
        self.status = grpc.StatusCode.UNAVAILABLE if self.left > 0 else None
        self.left -= 1
        return await super().ModelInfer(request, context)


@pytest.mark.parametrize(
    ("words", "failures", "calls", "answered"),
    [
        ("Request for unknown reason exceeds maximum queue size", 2, 3, True),
        ("exceeds maximum queue size", 9, TRIES, False),
        ("Socket closed", 1, 1, False),
    ],
)
def test_only_calls_that_no_model_has_seen_are_tried_again(words: str, failures: int, calls: int, answered: bool):
    """A refusal before the model is tried again, so often at most; what may have run, and may kill, is not."""
    servicer = FailingFirst(failures, words)

    async def test(inference: Inference) -> None:
        if answered:
            await inference.infer(batch_of(SHORT))
        else:
            with pytest.raises(InferenceUnavailable):
                await inference.infer(batch_of(SHORT))

    run(lambda: little_triton(servicer), test)
    assert servicer.calls == calls


def test_dead_model_ends_with_the_deadline():
    """A call that finds the model dead waits for its loading, and no longer than its own deadline."""

    class LoadsForEver(LittleTriton):
        async def RepositoryModelLoad(self, request: Any, context: Any) -> Any:  # noqa: N802
            await asyncio.Event().wait()

    servicer = LoadsForEver()
    servicer.status, servicer.words = grpc.StatusCode.INTERNAL, "Stub process 'analyzer_0' is not healthy."
    took_s: list[float] = []

    async def test(inference: Inference) -> None:
        started_s = time.monotonic()
        with pytest.raises(ModelDied, match="it is being loaded again"):
            await inference.infer(batch_of(SHORT))
        took_s.append(time.monotonic() - started_s)

    run(lambda: little_triton(servicer, timeout_s=0.5), test)
    assert took_s[0] <= 0.5 + 0.2


def test_nobody_listens():
    """A server that is away is InferenceUnavailable, for `check` and `infer`."""

    async def main() -> None:
        async with closing(TritonInference(TINY, TritonAddress("127.0.0.1:1"), 2.0, ROWS)) as inference:
            for call in (inference.check, lambda: inference.infer(batch_of(SHORT))):
                with pytest.raises(InferenceUnavailable, match=r"Triton at 127\.0\.0\.1:1"):
                    await call()

    asyncio.run(main())


def test_server_that_comes_back_is_used_again():
    """The one long-lived connection recovers by itself after an outage."""

    async def main() -> None:
        async with little_triton(LittleTriton()) as inference:
            await inference.infer(batch_of(SHORT))
            port = inference._address.url
        inference = TritonInference(TINY, TritonAddress(port), 5.0, ROWS)
        async with closing(inference):
            with pytest.raises(InferenceUnavailable):
                await inference.infer(batch_of(SHORT))
            server = grpc.aio.server()
            service_pb2_grpc.add_GRPCInferenceServiceServicer_to_server(LittleTriton(), server)
            server.add_insecure_port(port)
            await server.start()
            try:
                async with asyncio.timeout(20):
                    while True:
                        try:
                            await inference.infer(batch_of(SHORT))
                            break
                        except InferenceUnavailable:
                            await asyncio.sleep(0.1)  # between two looks
            finally:
                await server.stop(None)

    asyncio.run(main())


WRONG_MODELS: dict[str, Callable[[LittleTriton], None]] = {
    "'topic_logits' is": lambda triton: triton.tensors.update(topic_logits=("FP32", [-1, 5])),
    "'sentiment_logits' is": lambda triton: triton.tensors.update(sentiment_logits=("FP16", [-1, 3])),
    "'tag_logits' is missing": lambda triton: triton.tensors.pop("tag_logits"),
    "'input_ids' is": lambda triton: triton.tensors.update(input_ids=("INT32", [-1, -1])),
    "needs inputs that nobody sends: token_type_ids": lambda triton: triton.tensors.update(
        token_type_ids=("INT64", [-1, -1])
    ),
    "it takes 8 rows": lambda triton: setattr(triton, "max_batch_size", 8),
    r"it is analyzer:9\.9\.9": lambda triton: triton.parameters.update({VERSION_PARAMETER: "analyzer:9.9.9+0"}),
}


@pytest.mark.parametrize("problem", WRONG_MODELS)
def test_check_refuses_another_model(problem: str):
    """`check` compares names, types, shapes, rows and version with the bundle, and says which differs."""
    servicer = LittleTriton()
    WRONG_MODELS[problem](servicer)

    async def test(inference: Inference) -> None:
        with pytest.raises(ModelInvalid, match=problem):
            await inference.check()

    run(lambda: little_triton(servicer), test)


@pytest.mark.parametrize("field", ["live", "ready"])
def test_check_waits_for_a_loading_model(field: str):
    """A server that is not live or a model that is not loaded yet is an outage, not a wrong model."""
    servicer = LittleTriton()
    setattr(servicer, field, False)

    async def test(inference: Inference) -> None:
        with pytest.raises(InferenceUnavailable):
            await inference.check()

    run(lambda: little_triton(servicer), test)


def test_model_may_keep_its_version_to_itself():
    """A deployed model that does not tell its version passes on its tensors alone."""
    servicer = LittleTriton()
    servicer.parameters.clear()
    run(lambda: little_triton(servicer), lambda inference: inference.check())


def test_embedded_refuses_a_bad_batch():
    """A token id outside the vocabulary is InferenceRejected, and the engine goes on."""

    async def test(inference: Inference) -> None:
        with pytest.raises(InferenceRejected, match=r"model\.onnx refused a batch"):
            await inference.infer(batch_of([0, 100_000, 2]))
        await inference.infer(batch_of(SHORT))

    run(lambda: closing(EmbeddedInference(TINY, TIMEOUT_S)), test)


def test_embedded_refuses_nan():
    """A model whose answer is not finite (this one divides by the number of real tokens) is ModelInvalid."""
    batch = replace(batch_of(SHORT), attention_mask=np.zeros((1, 3), np.int64))

    async def test(inference: Inference) -> None:
        with pytest.raises(ModelInvalid, match="NaN or infinity"):
            await inference.infer(batch)

    run(lambda: closing(EmbeddedInference(TINY, TIMEOUT_S)), test)


def test_embedded_check_refuses_another_model():
    """A bundle that describes other topics than the file has is ModelInvalid at `check`."""
    manifest = msgspec.structs.replace(TINY.manifest, topics=TINY.topics[:-1])

    async def test(inference: Inference) -> None:
        with pytest.raises(ModelInvalid, match="topic_logits differ"):
            await inference.check()

    bundle = replace(TINY, manifest=manifest)
    run(lambda: closing(EmbeddedInference(bundle, TIMEOUT_S)), test)


def test_embedded_refuses_a_broken_file(tmp_path: Path):
    """A file that is not a model is ModelInvalid at `check` and at `infer`."""
    (tmp_path / "model.onnx").write_bytes(b"not a model")
    bundle = replace(TINY, directory=tmp_path)

    async def test(inference: Inference) -> None:
        for call in (inference.check, lambda: inference.infer(batch_of(SHORT))):
            with pytest.raises(ModelInvalid, match="cannot be loaded"):
                await call()

    run(lambda: closing(EmbeddedInference(bundle, TIMEOUT_S)), test)


def test_embedded_deadline():
    """The embedded engine honours its deadline too."""

    async def test(inference: Inference) -> None:
        with pytest.raises(InferenceUnavailable, match="took longer than"):
            await inference.infer(batch_of(SHORT))

    run(lambda: closing(EmbeddedInference(TINY, 0.0)), test)


def test_scripted_failures():
    """The fake fails as told: an outage in `check` and `infer`, a rejection for one token; it records its calls."""
    inference = ScriptedInference(len(TINY.topics), rejected_id=20)

    async def test() -> None:
        with pytest.raises(InferenceRejected):
            await inference.infer(batch_of(LONG, SHORT))
        await inference.infer(batch_of([0, 5, 2]))
        inference.failure = "outage"
        for call in (inference.check, lambda: inference.infer(batch_of(SHORT))):
            with pytest.raises(InferenceUnavailable):
                await call()

    asyncio.run(test())
    assert inference.calls == [(2, 22), (1, 3), (1, 3)]
