"""Fine-tuning: resumable to the bit, ended by its budget, and a mixture that follows the recipe."""

from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")

from tokenizers import Tokenizer  # noqa: E402 - after the skip
from transformers import BertModel  # noqa: E402

from tests.small_run import RECIPE, TOPICS, make_base, make_data, train  # noqa: E402
from worker.model import checkpoint, fine_tune  # noqa: E402
from worker.model.batches import Batcher  # noqa: E402
from worker.model.data import IGNORED, DataError, Example, held_out  # noqa: E402
from worker.model.recipe import RecipeError, read_recipe  # noqa: E402
from worker.model.sampling import NoDataError, load_mixture  # noqa: E402

pytestmark = pytest.mark.usefixtures("one_thread")

RECIPES = Path(fine_tune.__file__).parent / "recipes"


@pytest.fixture
def data(tmp_path):
    return make_data(tmp_path / "data")


@pytest.fixture
def out(tmp_path):
    return make_base(tmp_path / "run")


def test_a_resumed_run_ends_where_an_uninterrupted_one_does(data, out, tmp_path):
    """Killed in the middle of a pool and taken up again, a run gives the same weights to the bit."""
    whole = tmp_path / "whole"
    whole.mkdir()
    (whole / "base").symlink_to(out / "base")
    uninterrupted = train(data, whole)

    train(data, out, stop_after=17)
    resumed = train(data, out)

    assert resumed.position.step == uninterrupted.position.step == 40
    for name, value in uninterrupted.network.state_dict().items():
        assert torch.equal(value, resumed.network.state_dict()[name]), name


def test_the_budget_ends_the_run_with_a_learning_rate_near_zero(data, out):
    """The rate falls to zero as the time ends, also when the machine is slow; then the checkpoint is there."""
    run = train(data, out, budget_s=20.0)
    assert run.position.elapsed_s == 20.0
    assert run.optimiser.param_groups[0]["lr"] < RECIPE.optimiser.encoder_lr * 0.1
    network, tokenizer, labels = checkpoint.load(out / "ckpt-latest")
    assert len(labels.topics) == network.topic.out_features == len(TOPICS.topics)
    assert tokenizer.truncation is None
    for name, value in run.network.state_dict().items():
        assert torch.equal(value, network.state_dict()[name]), name


def test_word_embeddings_stay_frozen(data, out):
    """Training moves the encoder and the heads and leaves the word embeddings as imported."""
    before = BertModel.from_pretrained(out / "base", add_pooling_layer=False).state_dict()
    after = train(data, out).network.encoder.state_dict()
    assert torch.equal(before["embeddings.word_embeddings.weight"], after["embeddings.word_embeddings.weight"])
    assert not torch.equal(before["encoder.layer.0.output.dense.weight"], after["encoder.layer.0.output.dense.weight"])


def test_the_mixture_follows_the_shares_and_evens_out_labels(data):
    """Tasks come by their share, a 9:1 label ratio is drawn as 3:1, and held-out rows never come."""
    mixture = load_mixture(RECIPE, data, TOPICS)
    drawn = mixture.pool(0, 6000)
    tasks = Counter("sentiment" if e.sentiment is not None else "topic" if e.topic else "ner" for e in drawn)
    assert tasks["sentiment"] / 6000 == pytest.approx(0.5, abs=0.03)
    assert tasks["ner"] / 6000 == pytest.approx(0.3, abs=0.03)
    english = Counter(e.sentiment for e in drawn if e.sentiment is not None and e.language == "en")
    assert english[0] / english[2] == pytest.approx(3.0, rel=0.25)
    assert not any(held_out(e.text) for e in drawn if e.spans is not None)
    assert mixture.pool(5, 50) == mixture.pool(5, 50) != mixture.pool(6, 50)


def test_a_batch_carries_what_each_row_teaches(out):
    """Each row has its own label and nothing of the other tasks; two-class sources are marked; padding is masked."""
    tokenizer = Tokenizer.from_file(str(out / "base/tokenizer.json"))
    batcher = Batcher(tokenizer, 1, 3, frozenset({"two"}), batch_size=3)
    pool = [
        Example("a", "en", "two", sentiment=2),
        Example("b b", "en", "t", topic=frozenset({0, 2})),
        Example("a b a", "en", "n", spans=((2, 3, "PER"),)),
    ]
    [batch] = batcher.batches(pool, "seed")
    assert batch.input_ids.tolist() == [[0, 4, 2, 1, 1], [0, 5, 5, 2, 1], [0, 4, 5, 4, 2]]
    assert batch.attention_mask.sum(1).tolist() == [3, 4, 5]
    assert batch.sentiment.tolist() == [2, IGNORED, IGNORED]
    assert batch.two_class.tolist() == [True, False, False]
    assert batch.topics.tolist() == [[False] * 3, [True, False, True], [False] * 3]
    assert batch.tags[2].tolist() == [IGNORED, 0, 1, 0, IGNORED]
    assert batch.tags[:2].unique().tolist() == [IGNORED]


def test_neutral_rows_in_a_two_class_source_are_refused(data):
    """A recipe that masks neutral for a source that has it would train towards minus infinity: an error instead."""
    task = replace(RECIPE.sentiment, sources=(replace(RECIPE.sentiment.sources[0], two_class=True),))
    with pytest.raises(DataError, match="two_class"):
        load_mixture(replace(RECIPE, sentiment=task), data, TOPICS)


def test_a_missing_source_is_named(data):
    """A source of the recipe without files is an error with its place, not a smaller mixture."""
    task = replace(RECIPE.sentiment, sources=(replace(RECIPE.sentiment.sources[0], name="absent"),))
    with pytest.raises(NoDataError, match="absent"):
        load_mixture(replace(RECIPE, sentiment=task), data, TOPICS)


def test_the_shipped_recipe_reads_and_its_topic_sources_are_in_the_table():
    """recipes/analyzer.toml is valid, its shares add up, and every topic source is mapped."""
    recipe = read_recipe(RECIPES / "analyzer.toml")
    assert sum(task.share for task in recipe.tasks().values()) == pytest.approx(1.0)
    assert {source.name for source in recipe.topic.sources} <= set(TOPICS.sources)


def test_a_bad_recipe_is_named(tmp_path):
    """An unknown field is an error that names the file and the field."""
    path = tmp_path / "recipe.toml"
    path.write_text((RECIPES / "analyzer.toml").read_text().replace("warm_up", "warm_upp"))
    with pytest.raises(RecipeError, match=r"recipe\.toml: .*warm_upp"):
        read_recipe(path)


def test_a_folder_without_a_checkpoint_is_refused(tmp_path):
    """Loading names what is missing and how to make it."""
    with pytest.raises(checkpoint.CheckpointError, match=r"weights\.safetensors"):
        checkpoint.load(tmp_path)
