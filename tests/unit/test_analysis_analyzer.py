"""What `Analyzer` promises: one outcome a text, in order, and a bad text takes no other with it."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from worker.analysis.analyzer import Analyzer
from worker.analysis.batching import TokenBudget
from worker.analysis.bundle import Bundle
from worker.analysis.inference import ScriptedInference
from worker.analysis.prepare import Preparer
from worker.errors import BadRecord, InferenceUnavailable, ModelInvalid
from worker.events import Analysis
from worker.text.language import Language

BUNDLE = Bundle.load(Path(__file__).parent.parent / "fixtures" / "tiny_models" / "analyzer" / "1")
TOPICS = len(BUNDLE.topics)


class English:
    """Finds English in everything."""

    def identify(self, text: str, hint: str | None) -> Language:
        return Language("en", 0.9, False)


def analyzer(inference: ScriptedInference) -> Analyzer:
    return Analyzer(Preparer(BUNDLE, English(), max_windows=4), inference, TokenBudget(128, 4))


def analyze(inference: ScriptedInference, texts: list[str]) -> list[Analysis | BadRecord]:
    return asyncio.run(analyzer(inference).analyze([(text, None) for text in texts]))


def token(text: str) -> int:
    return BUNDLE.tokenizer.encode(text, add_special_tokens=False).ids[-1]


def test_batches_change_nothing():
    """Texts of many lengths, analysed together, give what each gives alone, in their order."""
    texts = ["", "London", "a b c " * 30, "東京の会社", *("q" * n for n in range(1, 60))]
    together = analyze(ScriptedInference(TOPICS), texts)
    assert together == [analyze(ScriptedInference(TOPICS), [text])[0] for text in texts]
    assert all(isinstance(each, Analysis) for each in together)


def test_rejected_text_stands_alone():
    """When the model refuses a batch for one text, that text alone is a bad record of stage `infer`."""
    inference = ScriptedInference(TOPICS, rejected_id=token("%"))
    *good, bad = analyze(inference, ["one", "two", "three", "four", "five %"])
    assert all(isinstance(each, Analysis) for each in good)
    assert isinstance(bad, BadRecord)
    assert (bad.stage, bad.reason) == ("infer", "rejected")


def test_too_long_text_stands_alone():
    """A text that cannot be tokenized never reaches the model; the others do."""
    inference = ScriptedInference(TOPICS)
    first, bad = analyze(inference, ["one", "q" * 1000])
    assert isinstance(first, Analysis)
    assert isinstance(bad, BadRecord)
    assert sum(rows for rows, _ in inference.calls) == 1


def test_outage_is_the_callers():
    """An outage is raised as it is: no text is blamed for it."""
    with pytest.raises(InferenceUnavailable):
        analyze(ScriptedInference(TOPICS, failure="outage"), ["one"] * 20)


@pytest.mark.parametrize("failure", ["wrong_shapes", "nan"])
def test_unusable_answer_makes_no_label(failure: str):
    """Wrong shapes and NaN are raised: no label is invented."""
    with pytest.raises(ModelInvalid):
        analyze(ScriptedInference(TOPICS, failure=failure), ["one"])


def test_nothing_to_do():
    """No texts, no calls."""
    inference = ScriptedInference(TOPICS)
    assert analyze(inference, []) == []
    assert inference.calls == []
