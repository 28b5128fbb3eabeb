"""Texts in, JSON out: the worker's own analysis around the model `analyzer`, for anyone with curl.

    curl localhost:8000/v2/models/analyze_text/infer -d '{"inputs": [
      {"name": "TEXT", "datatype": "BYTES", "shape": [1, 1], "data": ["Boeing faces another delay in Seattle."]}]}'

The environment needs the package `worker` and what requirements/triton-models.in names.
"""

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import triton_python_backend_utils as pb_utils

from worker.analysis.analyzer import Analyzer
from worker.analysis.batching import TokenBudget
from worker.analysis.bundle import Bundle
from worker.analysis.inference import OUTPUTS, Logits, TokenBatch, validate
from worker.analysis.prepare import Preparer
from worker.errors import BadRecord, InferenceRejected, InferenceUnavailable, PolyvoxError
from worker.events import encode
from worker.text.language import Identifier

ANALYZER = "analyzer"


class TritonPythonModel:
    """Triton's contract: `initialize` once, then `execute` for each batch of requests."""

    def initialize(self, args: dict) -> None:
        """Read the bundle of `analyzer`, which lies beside this model."""
        parameters = json.loads(args["model_config"])["parameters"]
        value = {key: each["string_value"] for key, each in parameters.items()}
        versions = (Path(args["model_repository"]).parent / ANALYZER).glob("[0-9]*")
        bundle = Bundle.load(max(versions, key=lambda path: int(path.name)))
        self.analyzer = Analyzer(
            Preparer(bundle, Identifier(), int(value["max_windows"])),
            ModelInference(bundle),
            TokenBudget(int(value["batch_tokens"]), int(value["batch_posts"])),
            float(value["abstain_below"]),
        )

    async def execute(self, requests: list) -> list:
        """One answer a request, in order; all their texts are analysed together."""
        texts = [read_texts(request) for request in requests]
        try:
            found = await self.analyzer.analyze([pair for pairs in texts for pair in pairs])
        except PolyvoxError as error:
            problem = pb_utils.TritonError(f"analyze_text: {error}", pb_utils.TritonError.UNAVAILABLE)
            return [pb_utils.InferenceResponse(error=problem) for _ in requests]
        rest = iter(found)
        return [response([to_json(next(rest)) for _ in pairs]) for pairs in texts]


@dataclass(frozen=True)
class ModelInference:
    """`Inference` by a call to the model beside this one, inside the server."""

    bundle: Bundle

    async def check(self) -> None:
        """Nothing to compare: `analyzer` compares itself with the bundle as it loads."""

    async def infer(self, batch: TokenBatch) -> Logits:
        """See `worker.analysis.inference.Inference`."""
        request = pb_utils.InferenceRequest(
            model_name=ANALYZER,
            requested_output_names=list(OUTPUTS),
            inputs=[
                pb_utils.Tensor("input_ids", batch.input_ids),
                pb_utils.Tensor("attention_mask", batch.attention_mask),
            ],
        )
        answer = await request.async_exec()
        if answer.has_error():
            error = answer.error()
            refused = error.code() == pb_utils.TritonError.INVALID_ARG
            raise (InferenceRejected if refused else InferenceUnavailable)(error.message())
        logits = Logits(*(pb_utils.get_output_tensor_by_name(answer, name).as_numpy() for name in OUTPUTS))
        validate(logits, batch, len(self.bundle.topics))
        return logits

    async def aclose(self) -> None:
        """Nothing is held open."""


def read_texts(request: object) -> list:
    """The (text, language hint) pairs of one request; bytes that are not UTF-8 are replaced."""
    texts = [text.decode("utf-8", "replace") for text in strings(request, "TEXT")]
    hints = [hint.decode("utf-8", "replace") or None for hint in strings(request, "LANGUAGE")]
    return list(zip(texts, hints or [None] * len(texts)))


def strings(request: object, name: str) -> list:
    """The byte strings of one input; empty when the optional input was not sent."""
    tensor = pb_utils.get_input_tensor_by_name(request, name)
    return [] if tensor is None else tensor.as_numpy().reshape(-1).tolist()


def to_json(outcome: object) -> bytes:
    """An analysis, or why there is none, as one JSON object: the form of `polyvox analyze --json`."""
    if isinstance(outcome, BadRecord):
        error = {"stage": outcome.stage, "reason": outcome.reason, "detail": outcome.detail}
        return json.dumps({"error": error}).encode()
    return encode(outcome)


def response(results: list) -> object:
    """An answer of one JSON object a text."""
    array = np.array(results, dtype=np.object_).reshape(-1, 1)
    return pb_utils.InferenceResponse(output_tensors=[pb_utils.Tensor("RESULT", array)])
