"""`Inference` through a Triton server, over gRPC.

What goes wrong with this client, and what is done about it here:

- without `client_timeout` a hung model hangs the caller for ever: every call has the deadline;
- `channel_args` replaces all defaults, the message sizes too: all are set below;
- after an outage gRPC waits up to two minutes before it tries to connect again: capped (grpc issue 11277);
- a call that no model has seen, since the connection was refused or a queue was full, is tried again a few times
  within its deadline; any other may have taken the server down, and its caller decides;
- a call that is cancelled, by its deadline or by cancelling the task, can crash Triton up to 24.11 and in rare cases
  later ones (server issues 7368 and 8034): keep the deadline far above the slowest answer, and let calls end;
- closing a channel cancels its calls, which look to their callers as if somebody had cancelled *them*: translated;
- since 24.06 Triton leaves a Python model whose process died dead, and still calls it ready (server issue 8604): the
  model is loaded again, so that a text that kills it can be told from an outage and does not stop all others;
- several event loops that use `grpc.aio` in one process log spurious BlockingIOErrors (grpc issue 25364).
"""

from __future__ import annotations

import asyncio
import json
import re
import uuid
from collections.abc import Awaitable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from grpc import StatusCode
from grpc.aio import UsageError
from tritonclient.grpc import InferInput, InferRequestedOutput, InferResult
from tritonclient.grpc.aio import InferenceServerClient
from tritonclient.utils import InferenceServerException

from worker.analysis.bundle import Bundle
from worker.analysis.inference import OUTPUTS, SENTIMENTS, TAGS, Logits, TokenBatch, validate
from worker.errors import InferenceRejected, InferenceUnavailable, ModelDied, ModelInvalid, PolyvoxError
from worker.telemetry import RETRIES
from worker.timing import Backoff, Deadline, SystemClock

INT32_MAX = 2**31 - 1
CHANNEL_ARGS = (
    ("grpc.max_send_message_length", INT32_MAX),
    ("grpc.max_receive_message_length", INT32_MAX),
    # Two pings in a deadline of 20 s notice a dead peer and stay under the server's limit (ENHANCE_YOUR_CALM).
    ("grpc.keepalive_time_ms", 10_000),
    ("grpc.keepalive_timeout_ms", 5_000),
    ("grpc.keepalive_permit_without_calls", 0),
    ("grpc.http2.max_pings_without_data", 2),
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.min_reconnect_backoff_ms", 1_000),
    ("grpc.max_reconnect_backoff_ms", 1_000),
    # Connections are shared between clients of one process otherwise, with their backoff.
    ("grpc.use_local_subchannel_pool", 1),
)

# Seen from Triton 2.51: NOT_FOUND for an unknown, unloaded or failed model, INVALID_ARGUMENT for a wrong type or too
# many rows, INTERNAL for any exception in a Python model, DEADLINE_EXCEEDED and UNAVAILABLE from the client itself.
ERRORS: Mapping[StatusCode, type[PolyvoxError]] = {
    StatusCode.ABORTED: InferenceUnavailable,
    StatusCode.ALREADY_EXISTS: ModelInvalid,
    StatusCode.CANCELLED: InferenceUnavailable,
    StatusCode.DATA_LOSS: InferenceRejected,
    StatusCode.DEADLINE_EXCEEDED: InferenceUnavailable,
    StatusCode.FAILED_PRECONDITION: InferenceRejected,
    StatusCode.INTERNAL: InferenceRejected,
    StatusCode.INVALID_ARGUMENT: InferenceRejected,
    StatusCode.NOT_FOUND: ModelInvalid,
    StatusCode.OUT_OF_RANGE: InferenceRejected,
    StatusCode.PERMISSION_DENIED: InferenceUnavailable,
    StatusCode.RESOURCE_EXHAUSTED: InferenceUnavailable,
    StatusCode.UNAUTHENTICATED: InferenceUnavailable,
    StatusCode.UNAVAILABLE: InferenceUnavailable,
    StatusCode.UNIMPLEMENTED: ModelInvalid,
    StatusCode.UNKNOWN: InferenceRejected,
}
_BY_NAME = {str(code): error for code, error in ERRORS.items()}
_DIED = re.compile(r"Stub process .* is not healthy")
_UNSEEN = re.compile(r"failed to connect to all addresses|[Ee]xceeds maximum queue size")
TRIES = 3
"""Of a call that no model has seen."""

VERSION_PARAMETER = "bundle_version"
"""The key in a model's `config.pbtxt` parameters under which it says which bundle it holds, if it does."""

RELOAD_PARAMETER = "polyvox_reload"
"""What is changed in a model's configuration to have it loaded again; means nothing."""

T = TypeVar("T")


@dataclass(frozen=True)
class TritonAddress:
    """Where Triton listens for gRPC, host:port, and how it is reached."""

    url: str
    tls: bool = False
    ca_file: Path | None = None


class TritonInference:
    """One long-lived connection to one Triton; make it inside the event loop that uses it.

    Args:
        timeout_s: deadline of each call.
        rows: the largest batch that will be sent; `check` compares it with the model's `max_batch_size`.
    """

    def __init__(self, bundle: Bundle, address: TritonAddress, timeout_s: float, rows: int) -> None:
        self._bundle = bundle
        self._address = address
        self._timeout_s = timeout_s
        self._rows = rows
        self._closed = False
        self._reload: asyncio.Task[str] | None = None
        self._client = InferenceServerClient(
            address.url,
            ssl=address.tls,
            root_certificates=str(address.ca_file) if address.ca_file else None,
            channel_args=list(CHANNEL_ARGS),
        )

    async def check(self) -> None:
        name, timeout = self._bundle.model.name, self._timeout_s
        if not await self._call(self._client.is_server_live(client_timeout=timeout)):
            raise InferenceUnavailable(f"Triton at {self._address.url} is not live yet; wait for it")
        if not await self._call(self._client.is_model_ready(name, client_timeout=timeout)):
            raise InferenceUnavailable(
                f"Triton at {self._address.url} has not loaded model '{name}'; wait, or see Triton's log"
            )
        self._compare_tensors(await self._call(self._client.get_model_metadata(name, client_timeout=timeout)))
        answer = await self._call(self._client.get_model_config(name, client_timeout=timeout))
        self._compare_config(answer.config)

    async def infer(self, batch: TokenBatch) -> Logits:
        name = self._bundle.model.name
        inputs = [_tensor("input_ids", batch.input_ids), _tensor("attention_mask", batch.attention_mask)]
        outputs = [InferRequestedOutput(output) for output in OUTPUTS]
        deadline, backoff = Deadline.after(self._timeout_s, SystemClock()), Backoff(base_s=0.1, limit_s=0.5)
        while True:
            left_s = deadline.left_s()
            try:
                call = self._client.infer(name, inputs, outputs=outputs, client_timeout=left_s)
                result = await self._call(call, deadline)
                break
            except InferenceUnavailable as error:
                pause_s = backoff.next_s()
                if backoff.attempts >= TRIES or not _unseen(error) or deadline.left_s() <= pause_s:
                    raise
                RETRIES.labels(target="triton").inc()
                await asyncio.sleep(pause_s)
        logits = Logits(*(self._array(result, output) for output in OUTPUTS))
        validate(logits, batch, len(self._bundle.topics))
        return logits

    async def aclose(self) -> None:
        if not self._closed:
            self._closed = True
            await self._client.close()

    async def _call(self, call: Awaitable[T], deadline: Deadline | None = None) -> T:
        """Await one call and make every failure one of ours; ends with the deadline, whatever it does about one."""
        try:
            return await call
        except InferenceServerException as error:
            if _DIED.search(error.message()):
                left_s = deadline.left_s() if deadline else self._timeout_s
                raise ModelDied(f"{self._describe(error)}; {await self._load_again(left_s)}") from error
            # A status that gRPC may add later counts as an outage: nothing is lost by that.
            raise _BY_NAME.get(error.status(), InferenceUnavailable)(self._describe(error)) from error
        except (UsageError, asyncio.CancelledError):
            task = asyncio.current_task()
            if not self._closed or (task is not None and task.cancelling()):
                raise
            raise InferenceUnavailable(f"the connection to Triton at {self._address.url} was closed") from None

    async def _load_again(self, wait_s: float) -> str:
        """Ask Triton to load the model, once for all calls that found it dead; say what came of it."""
        if self._reload is None or self._reload.done():
            self._reload = asyncio.create_task(self._load())
        try:
            return await asyncio.wait_for(asyncio.shield(self._reload), wait_s)
        except TimeoutError:
            return "it is being loaded again"

    async def _load(self) -> str:
        name, timeout = self._bundle.model.name, self._timeout_s
        try:
            answer = await self._client.get_model_config(name, as_json=True, client_timeout=timeout)
            config = answer["config"]
            # Triton does nothing for a model whose files and configuration have not changed.
            config.setdefault("parameters", {})[RELOAD_PARAMETER] = {"string_value": uuid.uuid4().hex}
            await self._client.load_model(name, config=json.dumps(config), client_timeout=timeout)
        except (InferenceServerException, UsageError, asyncio.CancelledError) as error:
            return f"it cannot be loaded again ({error}): restart Triton"
        return "it was loaded again"

    def _describe(self, error: InferenceServerException) -> str:
        status = (error.status() or "no status").removeprefix("StatusCode.")
        model = self._bundle.model.name
        return f"Triton at {self._address.url} answered {status} for model '{model}': {error.message()}"

    def _array(self, result: InferResult, name: str) -> np.ndarray[Any, np.dtype[np.float32]]:
        """An output as an array."""
        try:
            array = result.as_numpy(name)
        except (ValueError, TypeError) as error:
            raise self._wrong(f"its output '{name}' cannot be read ({error})") from error
        if array is None:
            raise self._wrong(f"its answer lacks '{name}'")
        return array  # type: ignore[no-any-return]

    def _wrong(self, problem: str) -> ModelInvalid:
        return ModelInvalid(
            f"Triton at {self._address.url} does not run what {self._bundle.directory} describes: {problem}; "
            f"deploy that version of '{self._bundle.model.name}', or point the worker at the deployed bundle"
        )

    def _compare_tensors(self, metadata: Any) -> None:
        """Compare names, types and shapes; -1 stands for a free size."""
        topics = len(self._bundle.topics)
        expected = {
            "input_ids": ("INT64", [-1, -1]),
            "attention_mask": ("INT64", [-1, -1]),
            "sentiment_logits": ("FP32", [-1, SENTIMENTS]),
            "topic_logits": ("FP32", [-1, topics]),
            "tag_logits": ("FP32", [-1, -1, TAGS]),
            "token_sentiment_logits": ("FP32", [-1, -1, SENTIMENTS]),
        }
        tensors = [*metadata.inputs, *metadata.outputs]
        found = {tensor.name: (tensor.datatype, list(tensor.shape)) for tensor in tensors}
        for name, (datatype, shape) in expected.items():
            if found.get(name) != (datatype, shape):
                raise self._wrong(f"'{name}' is {found.get(name, 'missing')}, expected {(datatype, shape)}")
        extra = {tensor.name for tensor in metadata.inputs} - set(expected)
        if extra:
            raise self._wrong(f"it needs inputs that nobody sends: {', '.join(sorted(extra))}")

    def _compare_config(self, config: Any) -> None:
        """Compare the batch size and, where the configuration tells it, the bundle's version."""
        if config.max_batch_size < self._rows:
            raise self._wrong(
                f"it takes {config.max_batch_size} rows, but batches of up to {self._rows} will be sent "
                "(POLYVOX_BATCH_POSTS, POLYVOX_BATCHING_FILE, or max_batch_size in config.pbtxt)"
            )
        if VERSION_PARAMETER in config.parameters:
            version = config.parameters[VERSION_PARAMETER].string_value
            if version != self._bundle.model.version:
                raise self._wrong(f"it is {version}, expected {self._bundle.model.version}")


def _unseen(error: InferenceUnavailable) -> bool:
    """Whether the call failed before any model could see it."""
    cause = error.__cause__
    return isinstance(cause, InferenceServerException) and bool(_UNSEEN.search(cause.message()))


def _tensor(name: str, array: np.ndarray[Any, np.dtype[np.int64]]) -> InferInput:
    tensor = InferInput(name, list(array.shape), "INT64")
    tensor.set_data_from_numpy(array)
    return tensor
