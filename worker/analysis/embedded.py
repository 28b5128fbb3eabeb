"""`Inference` inside this process, by onnxruntime on the same file that Triton serves."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TypeVar

from onnxruntime import InferenceSession, RunOptions

from worker.analysis.bundle import Bundle
from worker.analysis.inference import OUTPUTS, SENTIMENTS, TAGS, Logits, TokenBatch, validate
from worker.analysis.onnx_session import session_options
from worker.errors import InferenceRejected, InferenceUnavailable, ModelInvalid

T = TypeVar("T")


class EmbeddedInference:
    """The model on `threads` threads of this process; it loads at the first `check` or `infer`, in one of them.

    Each thread runs a batch of its own on one shared session: two of one thread are 11 to 29 % faster than one of two.

    Args:
        timeout_s: deadline of each call, waiting for a free thread and loading included.
    """

    def __init__(self, bundle: Bundle, timeout_s: float, threads: int = 2) -> None:
        self._bundle = bundle
        self._timeout_s = timeout_s
        self._executor = ThreadPoolExecutor(threads, thread_name_prefix="embedded-inference")
        self._loading = threading.Lock()
        self._session: InferenceSession | None = None
        self._closed = False

    async def check(self) -> None:
        self._compare(await self._call(self._load))

    async def infer(self, batch: TokenBatch) -> Logits:
        options = RunOptions()
        try:
            logits = await self._call(partial(self._run, batch, options))
        finally:
            # Frees the thread when the deadline passed or the caller left; without effect on a finished run.
            options.terminate = True
        validate(logits, batch, len(self._bundle.topics))
        return logits

    async def aclose(self) -> None:
        self._closed = True
        self._executor.shutdown(wait=False, cancel_futures=True)

    async def _call(self, work: Callable[[], T]) -> T:
        """Run `work` in one of the threads, within the deadline."""
        if self._closed:
            raise InferenceUnavailable("the embedded engine was closed")
        try:
            async with asyncio.timeout(self._timeout_s):
                return await asyncio.get_running_loop().run_in_executor(self._executor, work)
        except TimeoutError:
            raise InferenceUnavailable(
                f"the embedded engine took longer than {self._timeout_s} s; send smaller batches or raise the deadline"
            ) from None
        except asyncio.CancelledError:
            # `aclose` cancels what waits for a thread; that is not a cancellation of the caller.
            task = asyncio.current_task()
            if not self._closed or (task is not None and task.cancelling()):
                raise
            raise InferenceUnavailable("the embedded engine was closed") from None

    def _load(self) -> InferenceSession:
        with self._loading:
            if self._session is None:
                try:
                    self._session = InferenceSession(
                        self._bundle.model_file, session_options(), providers=["CPUExecutionProvider"]
                    )
                except Exception as error:  # its exceptions share no base class, and their set varies by version
                    raise ModelInvalid(f"{self._bundle.model_file} cannot be loaded: {error}") from error
            return self._session

    def _run(self, batch: TokenBatch, options: RunOptions) -> Logits:
        session = self._load()
        inputs = {"input_ids": batch.input_ids, "attention_mask": batch.attention_mask}
        try:
            return Logits(*session.run(OUTPUTS, inputs, options))
        except Exception as error:  # as in _load
            raise InferenceRejected(f"{self._bundle.model_file} refused a batch: {error}") from error

    def _compare(self, session: InferenceSession) -> None:
        """Compare names, types and ranks, and the sizes that are fixed, with the bundle."""
        expected = {
            "input_ids": ("tensor(int64)", (None, None)),
            "attention_mask": ("tensor(int64)", (None, None)),
            "sentiment_logits": ("tensor(float)", (None, SENTIMENTS)),
            "topic_logits": ("tensor(float)", (None, len(self._bundle.topics))),
            "tag_logits": ("tensor(float)", (None, None, TAGS)),
            "token_sentiment_logits": ("tensor(float)", (None, None, SENTIMENTS)),
        }
        tensors = [*session.get_inputs(), *session.get_outputs()]
        # Free sizes have names, or none.
        found = {
            each.name: (each.type, tuple(size if isinstance(size, int) else None for size in each.shape))
            for each in tensors
        }
        if found != expected:
            wrong = sorted(name for name in {**found, **expected} if found.get(name) != expected.get(name))
            raise ModelInvalid(
                f"{self._bundle.model_file}: {', '.join(wrong)} differ from what bundle.json describes; "
                "export the bundle anew"
            )
