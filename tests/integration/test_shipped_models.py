"""The two models of triton_models/ in the packaged Triton."""

import asyncio
import json
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

import pytest

from worker.analysis.analyzer import Analyzer
from worker.analysis.batching import TokenBudget
from worker.analysis.bundle import Bundle
from worker.analysis.embedded import EmbeddedInference
from worker.analysis.prepare import Preparer
from worker.errors import BadRecord
from worker.events import encode
from worker.local.stack import Addresses
from worker.text.language import Identifier

pytestmark = pytest.mark.integration

SHIPPED = Path(__file__).parents[2] / "triton_models" / "analyzer" / "1"
TEXTS: tuple[tuple[str, str | None], ...] = (
    ("Boeing faces another costly delay after engineers in Seattle found serious cracks.", None),
    ("Ein großartiger Abend mit Herbert Grönemeyer in Hamburg, vielen Dank!", "de"),
    ("公司公布了创纪录的利润，股价上涨。", None),
    ("ok", "en"),
    ("", None),
    ("Der Zug hielt in Bonn. " * 60, None),
)
TOO_LONG = "word " * 20_000


def ask(addresses: Addresses, model: str, inputs: list[dict[str, Any]]) -> dict[str, list[Any]]:
    """One request over HTTP; returns each output's data."""
    request = urllib.request.Request(
        f"http://{addresses.triton_http}/v2/models/{model}/infer", json.dumps({"inputs": inputs}).encode()
    )
    with urllib.request.urlopen(request, timeout=60) as answer:
        return {output["name"]: output["data"] for output in json.load(answer)["outputs"]}


def strings(name: str, values: list[str]) -> dict[str, Any]:
    return {"name": name, "datatype": "BYTES", "shape": [len(values), 1], "data": values}


def tokens(ids: list[int]) -> list[dict[str, Any]]:
    values = {"input_ids": ids, "attention_mask": [1] * len(ids)}
    return [{"name": name, "datatype": "INT64", "shape": [1, len(ids)], "data": data} for name, data in values.items()]


def spans(entities: list[dict[str, Any]]) -> list[tuple[str, str, int, int]]:
    return [(each["type"], each["text"], each["start"], each["end"]) for each in entities]


def test_analyze_text_answers_as_the_worker_does(stack: Addresses) -> None:
    """Text in, JSON out is the worker's own analysis: language, probabilities, spans and version, hints included."""

    async def analyze() -> list[Any]:
        bundle = Bundle.load(SHIPPED)
        inference = EmbeddedInference(bundle, timeout_s=60)
        try:
            found = await Analyzer(Preparer(bundle, Identifier(), 32), inference, TokenBudget(640, 16)).analyze(TEXTS)
        finally:
            await inference.aclose()
        return [json.loads(encode(each)) for each in found if not isinstance(each, BadRecord)]

    inputs = [strings("TEXT", [text for text, _ in TEXTS]), strings("LANGUAGE", [hint or "" for _, hint in TEXTS])]
    results = [json.loads(result) for result in ask(stack, "analyze_text", inputs)["RESULT"]]
    for result, expected in zip(results, asyncio.run(analyze()), strict=True):
        for one, other in ((result, expected), (result["sentiment"], expected["sentiment"])):
            assert one.pop("probabilities", None) == pytest.approx(other.pop("probabilities", None), abs=1e-3)
            assert one.pop("confidence", None) == pytest.approx(other.pop("confidence", None), abs=1e-3)
        assert result.pop("topic")["label"] == expected.pop("topic")["label"]
        assert spans(result.pop("entities")) == spans(expected.pop("entities"))
        assert result == expected


def test_a_text_that_cannot_be_analysed_takes_no_other_with_it(stack: Addresses) -> None:
    """In one request the bad text gets its reason, the good one its analysis."""
    bad, good = ask(stack, "analyze_text", [strings("TEXT", [TOO_LONG, "What a day!"])])["RESULT"]
    assert json.loads(bad)["error"]["reason"] == "text_too_long"
    assert json.loads(good)["language"] == "en"


@pytest.mark.parametrize("ids", [[0, 99_999_999, 2], [5] * 600], ids=["unknown token", "too many tokens"])
def test_a_bad_batch_is_refused_and_the_model_goes_on(ids: list[int], stack: Addresses) -> None:
    """The analyzer answers a batch that it cannot run with an error of the caller, and the next one with logits."""
    with pytest.raises(urllib.error.HTTPError) as refused:
        ask(stack, "analyzer", tokens(ids))
    assert refused.value.code == 400
    assert len(ask(stack, "analyzer", tokens([0, 5, 2]))["sentiment_logits"]) == 3
