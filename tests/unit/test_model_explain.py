"""Explanations: words of the text as written, and figures that add up to what they explain."""

from __future__ import annotations

import json
import re
from html import unescape
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

torch = pytest.importorskip("torch")
pytest.importorskip("captum")

from tokenizers import Tokenizer, models, pre_tokenizers, processors  # noqa: E402 - after the skip
from transformers import BertConfig  # noqa: E402
from typer.testing import CliRunner  # noqa: E402

from worker.analysis.bundle import Bundle  # noqa: E402
from worker.analysis.prepare import Preparer  # noqa: E402
from worker.cli import app  # noqa: E402
from worker.model import checkpoint  # noqa: E402
from worker.model.attribution import LEAST_GAP, TOLERANCE  # noqa: E402
from worker.model.explain import Explainer, ExplanationError  # noqa: E402
from worker.model.explanation_page import page  # noqa: E402
from worker.model.network import MultiTaskBert  # noqa: E402
from worker.model.words import words_of_tokens  # noqa: E402
from worker.settings import REPOSITORY  # noqa: E402
from worker.text.language import Identifier  # noqa: E402

pytestmark = pytest.mark.usefixtures("one_thread")

PREPARER = Preparer(Bundle.load(REPOSITORY / "triton_models" / "analyzer" / "1"), Identifier(), 32)
WORDS = ("good", "bad", "day", "rain")


def save_checkpoint(folder: Path, layers: int, wide_rows: int = 0) -> Path:
    """A small network; with no layer, `good` says positive and `bad` negative. With `wide_rows` it has a wide part."""
    pieces = ["<s>", "<pad>", "</s>", "<unk>", "<mask>", *WORDS]
    tokenizer = Tokenizer(models.WordLevel({piece: at for at, piece in enumerate(pieces)}, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>", special_tokens=[("<s>", 0), ("</s>", 2)]
    )
    torch.manual_seed(1)
    config = BertConfig(
        vocab_size=len(pieces),
        hidden_size=16,
        num_hidden_layers=layers,
        num_attention_heads=2,
        intermediate_size=32,
        pad_token_id=1,
        initializer_range=0.3,
        wide_rows=wide_rows,
    )
    network = MultiTaskBert(config, 2)
    if network.wide is not None:
        network.wide.fill(torch.randn(wide_rows, 2), 1.5)
    if layers == 0:
        embeddings = network.encoder.embeddings
        with torch.no_grad():
            for each in (embeddings.position_embeddings, embeddings.token_type_embeddings, network.sentiment):
                each.weight.zero_()
            vectors = embeddings.word_embeddings.weight
            network.sentiment.weight[2] = vectors[pieces.index("good")]
            network.sentiment.weight[0] = vectors[pieces.index("bad")]
    topics = tuple({"id": f"t{number}", "name": f"topic {number}", "parent": None} for number in range(2))
    checkpoint.save(folder, network, tokenizer, checkpoint.Labels(topics, "small", 16, ("en",)))
    return folder


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Checkpoints of no, one and two layers, and one of two with a wide part."""
    place = tmp_path_factory.mktemp("checkpoints")
    return [
        save_checkpoint(place / f"{layers}-{rows}", layers, rows) for layers, rows in ((0, 0), (1, 0), (2, 0), (2, 64))
    ]


@pytest.fixture(scope="module")
def explainers(folders: list[Path]) -> list[Explainer]:
    return [Explainer.of_checkpoint(folder) for folder in folders]


SAMPLES = ["Tesla", "的", "股价", "don't", "👩‍👩‍👧", "@nhk", "https://a.b/c", "สวัสดี", "e\u0301", "ﷺ"]


@settings(max_examples=60)
@given(
    st.text(st.characters(exclude_categories=["Cs"]), max_size=60) | st.lists(st.sampled_from(SAMPLES)).map(" ".join)
)
def test_words_lie_apart_and_hold_every_token(text: str) -> None:
    """In order, none overlapping, none empty; each token with characters lies in its word, whatever the script."""
    prepared = PREPARER.prepare(text)
    spans, owners = words_of_tokens(prepared)
    assert len(owners) == len(prepared.starts)
    assert bool(spans) == bool(owners)
    at = 0
    for start, end in spans:
        assert at <= start < end <= len(text)
        at = end
    assert owners == sorted(owners)
    assert set(owners) == set(range(len(spans)))
    for owner, start, end in zip(owners, prepared.starts.tolist(), prepared.ends.tolist(), strict=True):
        first, last = prepared.normalised.to_original(start, end)
        if first < last:
            assert spans[owner][0] <= first < last <= spans[owner][1]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("I don't  love Großstadtgefühle!", ["I", "don't", "love", "Großstadtgefühle", "!"]),
        ("@anna siehe https://a.b/c?d=e", ["@anna", "siehe", "https://a.b/c?d=e"]),
        ("정말 실망했어요", ["정말", "실망했어요"]),
        ("أعلنت الشركة", ["أعلنت", "الشركة"]),
        ("मुनाफा दर्ज", ["मुनाफा", "दर्ज"]),
        ("股价上涨", ["股价", "上涨"]),
        ("คุณภาพแย่", ["คุณภาพ", "แย่"]),
        ("ok 👩‍👩‍👧!", ["ok", "👩‍👩‍👧", "!"]),
        ("Tesla の新しい model", ["Tesla", "の", "新しい", "model"]),
        ("cafe\u0301 noir", ["cafe\u0301", "noir"]),
    ],
)
def test_words_are_those_of_the_original_text(text: str, words: list[str]) -> None:
    """Not pieces: a word of several is whole, a mention or link as its author wrote it, one piece of Chinese a word."""
    spans, _ = words_of_tokens(PREPARER.prepare(text))
    assert [text[start:end] for start, end in spans] == words


@pytest.mark.parametrize("which", [2, 3], ids=["narrow", "wide"])
@pytest.mark.parametrize("head", ["sentiment", "topic"])
def test_what_words_add_sums_to_what_they_explain(head, which, explainers: list[Explainer]) -> None:
    """The completeness axiom, over a text of several windows: within 5 % of the difference, or 0.05 logits."""
    explainer = explainers[which]
    text = " ".join(WORDS[at % 4] for at in range(40))
    assert len(explainer.preparer.prepare(text).windows) > 2
    found = explainer.explain(text, head)
    difference = found.score - found.masked_score
    assert abs(difference) > LEAST_GAP
    assert sum(word.adds for word in found.words) == pytest.approx(difference + found.gap)
    assert abs(found.gap) <= max(LEAST_GAP, TOLERANCE * abs(difference))


def test_the_score_is_that_of_the_answer(explainers: list[Explainer]) -> None:
    """The label's logit less the mean of the others', of the windows together as the worker reads them."""
    explainer = explainers[1]
    text = "good day rain bad " * 8
    found = explainer.explain(text, "sentiment")
    windows = explainer.preparer.prepare(text).windows
    rows = []
    for window in windows:
        ids = torch.from_numpy(window.ids.astype(np.int64))[None]
        with torch.inference_mode():
            rows.append(explainer.network(ids, torch.ones_like(ids))[0][0].numpy())
    logits = np.average(rows, axis=0, weights=[window.length for window in windows])
    column = explainer.bundle.manifest.sentiment.index(found.label)
    assert column == logits.argmax()
    assert found.score == pytest.approx(logits[column] - np.delete(logits, column).mean(), abs=1e-4)


def test_the_word_that_decides_adds_most(explainers: list[Explainer]) -> None:
    """In a network that only weighs words: the good one for positive, the bad one against it."""
    found = explainers[0].explain("good good rain bad", "sentiment")
    adds = {word.text: word.adds for word in found.words}
    assert found.label == "positive"
    assert adds["good"] == max(adds.values())
    assert adds["bad"] == min(adds.values()) < 0


def test_words_outside_the_vocabulary_are_marked(explainers: list[Explainer]) -> None:
    """They all look alike to the model: a reader is told which."""
    found = explainers[1].explain("good 🦖 day", "topic")
    assert [word.known for word in found.words] == [True, False, True]


@pytest.mark.parametrize(
    ("text", "reason"),
    [("", "no word"), (" \n\u200b", "no word"), ("good " * 999, "too_long"), ("\ud83d", "surrogate")],
)
def test_what_cannot_be_explained_is_said(text: str, reason: str, explainers: list[Explainer]) -> None:
    """An error with the reason, not an empty explanation."""
    with pytest.raises(ExplanationError, match=reason):
        explainers[0].explain(text, "sentiment")


def test_the_page_shows_the_whole_text_and_runs_nothing_of_it(explainers: list[Explainer]) -> None:
    """Every character in its order, markup of the text escaped."""
    text = "good  <script>alert(1)</script> & bad\nday"
    found = explainers[0].explain(text, "sentiment")
    html = page(found)
    assert "<script" not in html
    [shown] = re.findall(r'<p class="text"[^>]*>(.*?)</p>', html, re.DOTALL)
    assert unescape(re.sub(r"<[^>]*>", "", shown)) == text
    assert 'dir="auto"' in html


def test_the_command_answers_people_and_programs(folders: list[Path], tmp_path: Path) -> None:
    """The text, its strongest words and a page; with --json one object whose words point into the text."""
    folder, out = folders[0], tmp_path / "why.html"
    arguments = ["model", "explain", "good day", "--checkpoint", str(folder)]
    shown = CliRunner().invoke(app, [*arguments, "--html", str(out)])
    assert shown.exit_code == 0, shown.output
    assert "good day" in shown.stdout
    assert out.read_text(encoding="utf-8").startswith("<!doctype html>")
    found = json.loads(CliRunner().invoke(app, [*arguments, "--json"]).stdout)
    assert [found["text"][word["start"] : word["end"]] for word in found["words"]] == ["good", "day"]
