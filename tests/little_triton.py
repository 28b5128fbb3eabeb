"""A small Triton in this process: real gRPC, the tiny model, and errors on request; and helpers around it."""

# ruff: noqa: N802 - the protocol names its methods

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any

import grpc
import numpy as np
from onnxruntime import InferenceSession
from tritonclient.grpc import model_config_pb2 as config_pb2
from tritonclient.grpc import service_pb2, service_pb2_grpc

from worker.analysis.bundle import Bundle
from worker.analysis.inference import Inference, TokenBatch
from worker.analysis.onnx_session import session_options
from worker.analysis.triton import VERSION_PARAMETER, TritonAddress, TritonInference

TINY = Bundle.load(Path(__file__).parent / "fixtures" / "tiny_models" / "analyzer" / "1")
TIMEOUT_S = 20.0
ROWS = 16
DATA_TYPES = {"INT64": np.int64, "FP32": np.float32}
SHORT, LONG = [0, 20, 2], [0, *range(20, 40), 2]


def tensors_of(topics: int) -> dict[str, tuple[str, list[int]]]:
    return {
        "input_ids": ("INT64", [-1, -1]),
        "attention_mask": ("INT64", [-1, -1]),
        "sentiment_logits": ("FP32", [-1, 3]),
        "topic_logits": ("FP32", [-1, topics]),
        "tag_logits": ("FP32", [-1, -1, 7]),
        "token_sentiment_logits": ("FP32", [-1, -1, 3]),
    }


class LittleTriton(service_pb2_grpc.GRPCInferenceServiceServicer):
    """The part of the protocol that polyvox uses, over the tiny model; fields change what it answers."""

    def __init__(self, bundle: Bundle = TINY) -> None:
        self.session = InferenceSession(bundle.model_file, session_options(), providers=["CPUExecutionProvider"])
        self.tensors = tensors_of(len(bundle.topics))
        self.max_batch_size = ROWS
        self.parameters: dict[str, str] = {VERSION_PARAMETER: bundle.model.version}
        self.live = self.ready = True
        self.status: grpc.StatusCode | None = None
        self.words = "as told"
        self.hang = False
        self.called = asyncio.Event()
        self.may_load = True
        self.loads = 0
        self.change: Callable[[dict[str, np.ndarray]], None] = lambda outputs: None

    async def ServerLive(self, request: Any, context: Any) -> Any:
        return service_pb2.ServerLiveResponse(live=self.live)

    async def ModelReady(self, request: Any, context: Any) -> Any:
        return service_pb2.ModelReadyResponse(ready=self.ready)

    async def ModelMetadata(self, request: Any, context: Any) -> Any:
        answer = service_pb2.ModelMetadataResponse(name=request.name)
        for name, (datatype, shape) in self.tensors.items():
            side = answer.outputs if name.endswith("logits") else answer.inputs
            side.add(name=name, datatype=datatype, shape=shape)
        return answer

    async def ModelConfig(self, request: Any, context: Any) -> Any:
        config = config_pb2.ModelConfig(name=request.name, max_batch_size=self.max_batch_size)
        for key, value in self.parameters.items():
            config.parameters[key].string_value = value
        return service_pb2.ModelConfigResponse(config=config)

    async def RepositoryModelLoad(self, request: Any, context: Any) -> Any:
        self.loads += 1
        await asyncio.sleep(0.05)  # loading takes a while; calls that arrive meanwhile must not load too
        if not self.may_load:
            await context.abort(grpc.StatusCode.UNAVAILABLE, "explicit model load / unload is not allowed")
        config = json.loads(request.parameters["config"].string_param or "{}")
        parameters = {key: value["string_value"] for key, value in config.get("parameters", {}).items()}
        if parameters != self.parameters:  # like the real one, it does nothing when nothing has changed
            self.status, self.parameters = None, parameters
        return service_pb2.RepositoryModelLoadResponse()

    async def ModelInfer(self, request: Any, context: Any) -> Any:
        self.called.set()
        if self.hang:
            await asyncio.Event().wait()
        if self.status:
            await context.abort(self.status, self.words)
        inputs = {
            tensor.name: np.frombuffer(raw, DATA_TYPES[tensor.datatype]).reshape(tensor.shape)
            for tensor, raw in zip(request.inputs, request.raw_input_contents, strict=True)
        }
        names = [output.name for output in self.session.get_outputs()]
        outputs = dict(zip(names, self.session.run(names, inputs), strict=True))
        self.change(outputs)
        answer = service_pb2.ModelInferResponse(model_name=request.model_name)
        for name, array in outputs.items():
            datatype = "FP32" if array.dtype == np.float32 else "INT64"
            answer.outputs.add(name=name, datatype=datatype, shape=array.shape)
            answer.raw_output_contents.append(array.tobytes())
        return answer


@asynccontextmanager
async def served(servicer: LittleTriton) -> AsyncIterator[str]:
    """Where `servicer` listens: a free loopback port."""
    server = grpc.aio.server()
    service_pb2_grpc.add_GRPCInferenceServiceServicer_to_server(servicer, server)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    try:
        yield f"127.0.0.1:{port}"
    finally:
        await server.stop(None)


@asynccontextmanager
async def little_triton(servicer: LittleTriton, timeout_s: float = TIMEOUT_S) -> AsyncIterator[TritonInference]:
    """A client of `servicer`."""
    async with served(servicer) as address:
        inference = TritonInference(TINY, TritonAddress(address), timeout_s, ROWS)
        try:
            yield inference
        finally:
            await inference.aclose()


@asynccontextmanager
async def closing(inference: Inference) -> AsyncIterator[Inference]:
    try:
        yield inference
    finally:
        await inference.aclose()


def run(
    open_one: Callable[[], AbstractAsyncContextManager[Inference]], test: Callable[[Inference], Awaitable[None]]
) -> None:
    """Run `test` with the implementation that `open_one` opens, in an event loop of its own."""

    async def main() -> None:
        async with open_one() as inference:
            await test(inference)

    asyncio.run(main())


def batch_of(*rows: list[int], width: int = 0) -> TokenBatch:
    """Rows of token ids, padded to the longest one or to `width`."""
    shape = (len(rows), max(width, *(len(row) for row in rows)))
    ids, mask = np.full(shape, TINY.pad_id, np.int64), np.zeros(shape, np.int64)
    for at, row in enumerate(rows):
        ids[at, : len(row)], mask[at, : len(row)] = row, 1
    return TokenBatch(ids, mask)
