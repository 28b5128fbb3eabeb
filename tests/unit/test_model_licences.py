"""A model for commercial use: it learns from sources that allow it, says so, and cannot be mixed with another."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")

from tests.small_run import RECIPE, make_base, write  # noqa: E402 - after the skip
from worker.analysis.bundle import Bundle  # noqa: E402
from worker.events import Analysis, ModelRef, Probabilities, Sentiment, Topic  # noqa: E402
from worker.model import card, checkpoint  # noqa: E402
from worker.model.data import DataFile  # noqa: E402
from worker.model.evaluate import evaluate_files  # noqa: E402
from worker.model.export import export  # noqa: E402
from worker.model.fine_tune import fine_tune  # noqa: E402
from worker.model.licences import SourceTableError, licence_of, permitted, source_licences  # noqa: E402
from worker.model.recipe import read_recipe  # noqa: E402
from worker.model.topics import topics_of  # noqa: E402

pytestmark = pytest.mark.usefixtures("one_thread")

SHIPPED = read_recipe(Path(card.__file__).parent / "recipes" / "analyzer.toml")
ECONOMY = "medtop:04000000"
SMALL = """
base = "tiny"
vocabulary = 10
seed = 3
[optimiser]
encoder_lr = 1e-3
heads_lr = 1e-2
warm_up = 0.1
weight_decay = 0.01
batch_size = 4
max_tokens = 16
bf16 = false
[languages]
en = 1.0
[sentiment]
share = 0.5
loss_weight = 1.0
sources = [{ name = "sentfin", weight = 1.0 }, { name = "umsab", weight = 1.0 }]
[ner]
share = 0.3
loss_weight = 1.0
sources = [{ name = "wnut17", weight = 1.0 }]
[topic]
share = 0.2
loss_weight = 1.0
sources = [{ name = "ynat_dacon", weight = 1.0 }, { name = "multifin_high", weight = 1.0 }]
"""


@pytest.fixture
def recipe(tmp_path: Path) -> Path:
    path = tmp_path / "recipe.toml"
    path.write_text(SMALL, encoding="utf-8")
    return path


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Files of the sources that allow commercial use alone: reading another one would fail."""
    folder = tmp_path / "data"
    write(folder / "sentiment/sentfin/en.train.jsonl.xz", [{"text": f"a {i}", "label": "positive"} for i in range(9)])
    write(folder / "ner/wnut17/en.train.jsonl.xz", [{"tokens": ["a", "b"], "tags": ["O", "B-PER"]}] * 9)
    write(folder / "topic/ynat_dacon/en.train.jsonl.xz", [{"text": "b b", "label": "경제"}] * 9)
    return folder


def test_only_sources_marked_c_are_left():
    """Every source left allows commercial use, every one that does is left, and weights and shares stay."""
    left = permitted(SHIPPED, "commercial")
    uses = source_licences(SHIPPED)
    for name, task in left.tasks().items():
        everything = SHIPPED.tasks()[name]
        assert task.sources == tuple(each for each in everything.sources if uses[name, each.name][2] == "C")
        assert task.sources
        assert (task.share, task.loss_weight) == (everything.share, everything.loss_weight)
    assert permitted(SHIPPED, "any") is SHIPPED
    assert (licence_of(left), licence_of(SHIPPED)) == ("commercial", "any")


def test_a_source_whose_licence_nobody_read_allows_nothing():
    """Neither filtered in silence nor called commercial."""
    with pytest.raises(SourceTableError, match=r"sentiment\.s"):
        permitted(RECIPE, "commercial")
    assert licence_of(RECIPE) == "any"


def test_a_task_without_sources_is_an_error():
    """A head that would learn nothing is not trained in silence."""
    restricted = tuple(each for each in SHIPPED.topic.sources if each.name == "multifin_high")
    recipe = replace(SHIPPED, topic=replace(SHIPPED.topic, sources=restricted))
    with pytest.raises(SourceTableError, match="no source of topic"):
        permitted(recipe, "commercial")


def test_a_commercial_run_reads_no_other_source_and_says_what_it_is(recipe: Path, data: Path, tmp_path: Path):
    """From training to the served bundle: one label for the economy, and the licence in the files."""
    out = make_base(tmp_path / "run")
    made = fine_tune(recipe, data, out, 0.5, licence="commercial")
    labels = checkpoint.read_labels(made)
    assert labels.licence == "commercial"
    ids = [topic["id"] for topic in labels.topics]
    assert ECONOMY in ids
    assert not [each for each in ids if str(each).startswith("multifin:")]
    bundle = tmp_path / "analyzer" / "1"
    network, tokenizer, _ = checkpoint.load(made)
    network.config.max_position_embeddings = 512
    checkpoint.save(made, network, tokenizer, labels)
    export(made, bundle, "0.0.1", "float32")
    assert Bundle.load(bundle).manifest.licence == "commercial"
    assert list(Bundle.load(bundle).topic_ids) == ids


def test_weights_of_other_sources_cannot_be_gone_on_from(recipe: Path, data: Path, tmp_path: Path):
    """A checkpoint that learned from restricted sources stays restricted: it is refused, not relabelled."""
    made = fine_tune(recipe, data, make_base(tmp_path / "run"), 0.3, licence="commercial")
    labels = json.loads((made / "labels.json").read_text())
    (made / "labels.json").write_text(json.dumps(labels | {"licence": "any"}))
    with pytest.raises(checkpoint.CheckpointError, match="do not allow commercial use"):
        fine_tune(recipe, data, tmp_path / "next", 0.3, start_from=made, licence="commercial")


def test_a_run_cannot_change_its_licence(recipe: Path, data: Path, tmp_path: Path):
    """Taken up again without --licence, a run is refused with what to do: its heads have other columns."""
    out = make_base(tmp_path / "run")
    fine_tune(recipe, data, out, 0.3, licence="commercial")
    write(data / "sentiment/umsab/en.train.jsonl.xz", [{"text": "a", "label": "positive"}])
    write(data / "topic/multifin_high/en.train.jsonl.xz", [{"text": "b", "label": "Finance"}])
    with pytest.raises(checkpoint.CheckpointError, match="another recipe or --licence"):
        fine_tune(recipe, data, out, 0.6)


def test_both_sets_of_topics_are_scored(tmp_path: Path):
    """A model with one economy label is right where the source means a part of it, and wrong elsewhere."""
    rows = [{"text": "a", "label": "Finance"}, {"text": "b", "label": "Technology"}]
    write(tmp_path / "multifin_high/en.dev.jsonl.xz", rows)
    topics = topics_of("commercial").topics

    def predict(texts):
        shares = {topic.id: 0.9 if topic.id == ECONOMY else 0.01 for topic in topics}
        return [
            Analysis(
                language="en",
                language_confidence=1.0,
                sentiment=Sentiment(label="neutral", confidence=1.0, probabilities=Probabilities(0, 1, 0)),
                topic=Topic(label=ECONOMY, name="", confidence=0.9, probabilities=shares),
                entities=[],
                model=ModelRef("m", "m:1"),
            )
            for _ in texts
        ]

    report = evaluate_files([DataFile(tmp_path / "multifin_high/en.dev.jsonl.xz", "topic")], predict)
    assert report.metrics["accuracy"] == 1.0
    assert set(report.classes) == {ECONOMY}


def test_the_card_of_a_commercial_model_says_so():
    """No restricted source is named, and the economy is one topic."""
    text = card.model_card([], permitted(SHIPPED, "commercial"), card.Facts("1.0.0", "c", "t", None, ""))
    assert "**Commercial use**" in text
    assert "Non-commercial" not in text
    assert f"`{ECONOMY}` economy, business and finance" in text
    assert "umsab" not in text
    assert "multifin" not in text
