"""What `evaluate` asks: a checkpoint through torch, or any `Inference` on the bundle.

All share the worker's own path from text to labels, so that the figures are those of the worker.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

import torch
from tokenizers import Tokenizer

from worker.analysis.analyzer import Analyzer
from worker.analysis.batching import TokenBudget
from worker.analysis.bundle import Bundle, Manifest, TopicLabel
from worker.analysis.calibration import OTHERS, Calibration
from worker.analysis.decode import decode
from worker.analysis.inference import Inference, Logits, TokenBatch, validate
from worker.analysis.prepare import Preparer
from worker.errors import BadRecord
from worker.events import Entity, ModelRef
from worker.model import checkpoint
from worker.model.checkpoint import Labels
from worker.model.evaluate import Predict
from worker.model.network import MultiTaskBert, device_of
from worker.model.span_certainty import SpansAt
from worker.text.language import Identifier

BUDGET = TokenBudget(tokens=2048, posts=64)
MAX_WINDOWS = 32
CHUNK = 2000  # texts held at once
Answer = TypeVar("Answer")
Ask = Callable[[Analyzer, list[tuple[str, None]]], Awaitable[list[Answer]]]


class TorchInference:
    """`Inference` by a network in this process; for measuring, not for serving: it blocks the event loop."""

    def __init__(self, network: MultiTaskBert) -> None:
        self._network = network

    async def check(self) -> None:
        return None

    async def infer(self, batch: TokenBatch) -> Logits:
        device = device_of(self._network)
        with torch.inference_mode():
            outputs = self._network(
                torch.from_numpy(batch.input_ids).to(device), torch.from_numpy(batch.attention_mask).to(device)
            )
        logits = Logits(*(output.float().cpu().numpy() for output in outputs))
        validate(logits, batch, self._network.topic.out_features)
        return logits

    async def aclose(self) -> None:
        return None


def checkpoint_predictor(folder: Path) -> Predict:
    """Ask the float network of a checkpoint folder; CheckpointError when it is not one."""
    network, tokenizer, labels = checkpoint.load(folder)
    network.to("cuda" if torch.cuda.is_available() else "cpu")
    return inference_predictor(
        checkpoint_bundle(folder, tokenizer, labels, network.config.pad_token_id), lambda: TorchInference(network)
    )


def inference_predictor(bundle: Bundle, connect: Callable[[], Inference]) -> Predict:
    """Ask any `Inference` (embedded onnxruntime, Triton) that runs `bundle`; `connect` is called in its event loop.

    Raises:
        InferenceUnavailable, ModelInvalid: as `Inference.check`.
    """
    return _asker(bundle, connect, Analyzer.analyze)


def span_predictor(bundle: Bundle, connect: Callable[[], Inference]) -> SpansAt:
    """Ask once, and read the mentions at several temperatures of the tags; as `inference_predictor`."""
    ask = _asker(bundle, connect, Analyzer.answers)

    def spans_at(texts: Sequence[str], temperatures: Sequence[float]) -> list[list[list[Entity]] | BadRecord]:
        bundles = [replace(bundle, calibration=Calibration(tags={OTHERS: each})) for each in temperatures]
        return [
            found if isinstance(found, BadRecord) else [decode(*found, each, 0.0).entities for each in bundles]
            for found in ask(texts)
        ]

    return spans_at


def _asker(
    bundle: Bundle, connect: Callable[[], Inference], method: Ask[Answer]
) -> Callable[[Sequence[str]], list[Answer]]:
    """A plain function of texts from a method of the analyzer."""

    async def opened() -> Inference:
        inference = connect()
        await inference.check()
        return inference

    # One loop for all calls: clients of a server are bound to the loop that made them.
    loop = asyncio.new_event_loop()
    analyzer = Analyzer(Preparer(bundle, Identifier(), MAX_WINDOWS), loop.run_until_complete(opened()), BUDGET)

    def ask(texts: Sequence[str]) -> list[Answer]:
        answers: list[Answer] = []
        for start in range(0, len(texts), CHUNK):
            chunk: list[tuple[str, None]] = [(text, None) for text in texts[start : start + CHUNK]]
            answers += loop.run_until_complete(method(analyzer, chunk))
        return answers

    return ask


def checkpoint_bundle(folder: Path, tokenizer: Tokenizer, labels: Labels, pad_id: int) -> Bundle:
    """A checkpoint described as the bundle that an export of it would be (no ONNX file behind it)."""
    tokenizer.no_truncation()
    whole, bare = tokenizer.encode("a").ids, tokenizer.encode("a", add_special_tokens=False).ids
    before = next(at for at in range(len(whole)) if whole[at : at + len(bare)] == bare)
    manifest = Manifest(
        name="checkpoint",
        version="0",
        base=labels.base,
        max_tokens=512,
        window_tokens=labels.window_tokens,
        pad_id=pad_id,
        sentiment=labels.sentiment,
        tags=labels.tags,
        topics=tuple(TopicLabel(str(topic["id"]), str(topic["name"]), topic["parent"]) for topic in labels.topics),
        languages=labels.languages,
        sha256={},
        licence=labels.licence,
    )
    model = ModelRef("checkpoint", f"checkpoint:0+{folder.name}")
    return Bundle(folder, model, manifest, tokenizer, tuple(whole[:before]), tuple(whole[before + len(bare) :]))
