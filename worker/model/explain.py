"""Which words moved a label: the answer of a head, and what each word of the text added to it."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from worker.analysis.analyzer import Analyzer
from worker.analysis.bundle import Bundle
from worker.analysis.prepare import Prepared, Preparer
from worker.errors import BadRecord
from worker.events import Analysis
from worker.model import checkpoint
from worker.model.attribution import Head, Specials, attribute
from worker.model.network import MultiTaskBert
from worker.model.predictors import BUDGET, MAX_WINDOWS, TorchInference, checkpoint_bundle
from worker.model.served import load_served
from worker.model.words import words_of_tokens
from worker.text.language import Identifier

MASKS = ("<mask>", "[MASK]")  # of SentencePiece and WordPiece vocabularies
UNKNOWNS = ("<unk>", "[UNK]")


class ExplanationError(ValueError):
    """A text or model that cannot be explained; the message says why."""


@dataclass(frozen=True)
class Word:
    """A word of the text as written, `text[start:end]`, and what it adds to the label's score, in logits."""

    start: int
    end: int
    text: str
    adds: float
    known: bool  # whether the vocabulary has a piece of it


@dataclass(frozen=True)
class Explanation:
    """One head's answer to one text.

    The score is the label's logit less the mean of the other labels'; the words' `adds` sum to `score - masked_score`,
    but for `gap`.
    """

    text: str
    language: str
    head: Head
    label: str
    name: str  # what people call the label
    confidence: float
    score: float
    masked_score: float  # of the text with every word masked
    gap: float
    model: str
    words: tuple[Word, ...]

    def to_json(self) -> dict[str, object]:
        """The explanation as plain values."""
        return asdict(self)

    def stretches(self) -> Iterator[tuple[str, Word | None]]:
        """The whole text in order: each word, and what stands between words."""
        at = 0
        for word in self.words:
            if at < word.start:
                yield self.text[at : word.start], None
            yield word.text, word
            at = word.end
        if at < len(self.text):
            yield self.text[at:], None

    def strength(self, word: Word) -> float:
        """From -1 to 1: what a word adds, against the word that adds or takes most."""
        most = max(abs(each.adds) for each in self.words)
        return word.adds / most if most else 0.0


@dataclass(frozen=True)
class Explainer:
    """A network and the bundle that describes it."""

    network: MultiTaskBert
    bundle: Bundle
    preparer: Preparer
    specials: Specials

    @classmethod
    def of_checkpoint(cls, folder: Path) -> Explainer:
        """Open a fine-tuned folder; CheckpointError when it is none."""
        network, tokenizer, labels = checkpoint.load(folder)
        return cls._open(network, checkpoint_bundle(folder, tokenizer, labels, network.config.pad_token_id))

    @classmethod
    def of_bundle(cls, folder: Path) -> Explainer:
        """Open an int8 bundle as a network, its rounded weights in float32.

        Raises:
            ModelInvalid, CheckpointError: `folder` is no bundle, or one of other precision.
        """
        bundle = Bundle.load(folder)
        return cls._open(load_served(folder)[0], bundle)

    @classmethod
    def _open(cls, network: MultiTaskBert, bundle: Bundle) -> Explainer:
        specials = Specials(len(bundle.prefix_ids), len(bundle.suffix_ids), _first_id(bundle, MASKS))
        return cls(network, bundle, Preparer(bundle, Identifier(), MAX_WINDOWS), specials)

    def explain(self, text: str, head: Head) -> Explanation:
        """Explain the label that the model gives to `text`; some seconds for each window of it.

        Raises:
            ExplanationError: the text holds no word, or cannot be read.
        """
        analysis = self._analyse(text)
        prepared = self.preparer.prepare(text)
        if not prepared.starts.size:
            raise ExplanationError("the text holds no word: only white space or invisible characters, or nothing")
        label, name, confidence, column = self._answer(analysis, head)
        found = attribute(self.network, prepared.windows, self.specials, head, column)
        spans, owners = words_of_tokens(prepared)
        adds = np.bincount(owners, weights=found.tokens)
        known = np.bincount(owners, weights=self._known(prepared)) > 0
        return Explanation(
            text=text,
            language=analysis.language,
            head=head,
            label=label,
            name=name,
            confidence=confidence,
            score=found.score,
            masked_score=found.baseline_score,
            gap=found.gap,
            model=self.bundle.model.version,
            words=tuple(
                Word(start, end, text[start:end], add, held)
                for (start, end), add, held in zip(spans, adds.tolist(), known.tolist(), strict=True)
            ),
        )

    def _analyse(self, text: str) -> Analysis:
        """What the worker would say, by this network."""
        analyzer = Analyzer(self.preparer, TorchInference(self.network), BUDGET)
        [found] = asyncio.run(analyzer.analyze([(text, None)]))
        if isinstance(found, BadRecord):
            raise ExplanationError(f"the text cannot be read: {found.reason} ({found.detail}); explain a part of it")
        return found

    def _known(self, prepared: Prepared) -> NDArray[np.bool_]:
        """Which of the text's N tokens is a piece of the vocabulary and not empty, [N]."""
        ids, unknown = np.zeros(len(prepared.starts), np.int32), _first_id(self.bundle, UNKNOWNS)
        for window in prepared.windows:
            inner = window.ids[self.specials.prefix : window.length - self.specials.suffix]
            ids[window.first : window.first + len(inner)] = inner
        known: NDArray[np.bool_] = (ids != unknown) & (prepared.starts < prepared.ends)
        return known

    def _answer(self, analysis: Analysis, head: Head) -> tuple[str, str, float, int]:
        """The label, its name, its confidence and its column."""
        if head == "sentiment":
            label = analysis.sentiment.label
            return label, label, analysis.sentiment.confidence, self.bundle.manifest.sentiment.index(label)
        topic = analysis.topic
        return topic.label, topic.name, topic.confidence, self.bundle.topic_ids.index(topic.label)


def _first_id(bundle: Bundle, names: tuple[str, ...]) -> int:
    """The id of the first name that the vocabulary has."""
    for name in names:
        if (found := bundle.tokenizer.token_to_id(name)) is not None:
            return int(found)
    raise ExplanationError(f"{bundle.directory}: the vocabulary has no {' or '.join(names)}; it cannot be explained")
