"""The three ways to evaluate: a checkpoint, the ONNX file in this process, and the running Triton."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from itertools import chain, islice
from pathlib import Path

import msgspec
import numpy as np
import pytest
from numpy.typing import NDArray

pytest.importorskip("torch")

from worker.analysis.bundle import Bundle
from worker.analysis.calibration import UNCALIBRATED
from worker.analysis.embedded import EmbeddedInference
from worker.analysis.triton import TritonAddress, TritonInference
from worker.events import Analysis
from worker.local.stack import Addresses
from worker.model import checkpoint
from worker.model.data import DataFile, clean
from worker.model.evaluate import Predict, evaluate_files
from worker.model.predictors import checkpoint_predictor, inference_predictor
from worker.model.served import load_served
from worker.settings import REPOSITORY

pytestmark = [pytest.mark.integration, pytest.mark.slow]

SHIPPED = REPOSITORY / "triton_models" / "analyzer" / "1"
TIMEOUT_S, ROWS = 60.0, 8
EACH = 120  # texts of each of the two sample files


def texts() -> list[str]:
    """Sample posts of both kinds, as an evaluation reads them."""

    def of(name: str) -> Iterator[str]:
        with (REPOSITORY / "samples" / f"posts.{name}.jsonl").open(encoding="utf-8") as lines:
            yield from (clean(json.loads(line)["text"]) for line in islice(lines, EACH))

    return [text for name in ("social", "financial") for text in of(name) if text]


@pytest.fixture(scope="module")
def predictors(stack: Addresses, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Predict]:
    """The shipped bundle three times; as a checkpoint it is what its int8 weights stand for, in float32.

    None is calibrated: a checkpoint never is, and temperatures move probabilities further than rounding does.
    """
    folder = tmp_path_factory.mktemp("agreement") / "served"
    checkpoint.save(folder, *load_served(SHIPPED))
    bundle = replace(Bundle.load(SHIPPED), calibration=UNCALIBRATED)
    address = TritonAddress(stack.triton_grpc)
    return {
        "checkpoint": checkpoint_predictor(folder),
        "embedded": inference_predictor(bundle, lambda: EmbeddedInference(bundle, TIMEOUT_S)),
        "triton": inference_predictor(bundle, lambda: TritonInference(bundle, address, TIMEOUT_S, ROWS)),
    }


@pytest.fixture(scope="module")
def answers(predictors: dict[str, Predict]) -> dict[str, list[Analysis]]:
    """What each says of the texts; none is refused."""
    found = {name: predict(texts()) for name, predict in predictors.items()}
    assert all(isinstance(each, Analysis) for each in chain.from_iterable(found.values()))
    return {name: [each for each in all_ if isinstance(each, Analysis)] for name, all_ in found.items()}


def shares(found: list[Analysis]) -> dict[str, NDArray[np.float64]]:
    """The probabilities of each head that chooses a class, [texts, classes]."""
    return {
        "sentiment": np.array([msgspec.structs.astuple(each.sentiment.probabilities) for each in found]),
        "topic": np.array([list(each.topic.probabilities.values()) for each in found]),
    }


def spans(found: list[Analysis]) -> list[set[tuple[int, int, str]]]:
    """The entities of each text."""
    return [{(entity.start, entity.end, str(entity.type)) for entity in each.entities} for each in found]


def test_triton_answers_as_the_embedded_engine(answers: dict[str, list[Analysis]]) -> None:
    """The same labels and spans for every text, and probabilities within 1e-3."""
    embedded, triton = answers["embedded"], answers["triton"]
    for head, found in shares(embedded).items():
        assert np.abs(found - shares(triton)[head]).max() <= 1e-3, head
    assert [each.sentiment.label for each in embedded] == [each.sentiment.label for each in triton]
    assert [each.topic.label for each in embedded] == [each.topic.label for each in triton]
    assert spans(embedded) == spans(triton)


def test_int8_activations_change_few_labels(answers: dict[str, list[Analysis]]) -> None:
    """The file computes in int8 what the checkpoint computes in float32: nearly all labels and spans stay."""
    expected, found = answers["checkpoint"], answers["embedded"]
    for head, of_checkpoint in shares(expected).items():
        of_file = shares(found)[head]
        kept = (of_checkpoint.argmax(axis=1) == of_file.argmax(axis=1)).mean()
        assert kept >= 0.93, head
        assert np.abs(of_checkpoint - of_file).mean() <= 0.01, (head, np.abs(of_checkpoint - of_file).mean())
    pairs = list(zip(spans(expected), spans(found), strict=True))
    same = sum(len(one & other) for one, other in pairs)
    assert 2 * same / sum(len(one) + len(other) for one, other in pairs) >= 0.95


def test_the_reports_of_triton_and_the_file_agree(
    predictors: dict[str, Predict], answers: dict[str, list[Analysis]], tmp_path: Path
) -> None:
    """Macro-F1 within 0.1 points, on what the checkpoint answered as the truth; so the checkpoint's own is 1."""
    file = tmp_path / "said" / "en.dev.jsonl"
    file.parent.mkdir()
    rows = zip(texts(), answers["checkpoint"], strict=True)
    file.write_text(
        "".join(json.dumps({"text": text, "lang": "en", "label": said.sentiment.label}) + "\n" for text, said in rows)
    )
    labelled = [DataFile(file, "sentiment")]
    scores = {name: float(evaluate_files(labelled, each).metrics["macro_f1"]) for name, each in predictors.items()}
    assert scores["checkpoint"] == 1.0
    assert scores["embedded"] == pytest.approx(scores["triton"], abs=0.001)
