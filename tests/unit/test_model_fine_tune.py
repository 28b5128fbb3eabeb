"""Fine-tuning: resumable to the bit, ended by its budget, and a mixture that follows the recipe."""

import json
import lzma
from collections import Counter
from contextlib import suppress
from dataclasses import replace
from itertools import count
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")

from tokenizers import Tokenizer, models, pre_tokenizers, processors  # noqa: E402 - after the skip
from transformers import BertConfig, BertModel  # noqa: E402

from worker.model import checkpoint, fine_tune  # noqa: E402
from worker.model.batches import Batcher  # noqa: E402
from worker.model.data import IGNORED, DataError, Example, held_out  # noqa: E402
from worker.model.recipe import RecipeError, build_recipe, read_recipe  # noqa: E402
from worker.model.sampling import NoDataError, load_mixture  # noqa: E402
from worker.model.topics import read_table  # noqa: E402

RECIPES = Path(fine_tune.__file__).parent / "recipes"
TOPICS = read_table()
RECIPE = build_recipe(
    {
        "base": "tiny",
        "vocabulary": 10,
        "seed": 3,
        "optimiser": {
            "encoder_lr": 1e-3, "heads_lr": 1e-2, "warm_up": 0.1, "weight_decay": 0.01,
            "batch_size": 4, "max_tokens": 16, "bf16": False,
        },
        "languages": {"en": 1.0, "de": 1.0},
        "sentiment": {"share": 0.5, "loss_weight": 1.0, "sources": [{"name": "s", "weight": 1.0}]},
        "ner": {"share": 0.3, "loss_weight": 1.0, "sources": [{"name": "n", "weight": 1.0, "split": "dev"}]},
        "topic": {"share": 0.2, "loss_weight": 1.0, "sources": [{"name": "ag_news_testset", "weight": 1.0}]},
    }
)  # fmt: skip


@pytest.fixture(autouse=True)
def one_thread():
    """Tensors this small only lose by being shared out, and by much on a busy machine."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def write(path: Path, rows: list[dict]) -> None:
    """Write rows as .jsonl.xz."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with lzma.open(path, "wt") as lines:
        lines.writelines(json.dumps(row) + "\n" for row in rows)


@pytest.fixture
def data(tmp_path):
    """A tiny data directory: sentiment in two languages, entities in a dev split, topics."""
    labels = ["negative"] * 90 + ["positive"] * 10
    write(
        tmp_path / "data/sentiment/s/en.train.jsonl.xz",
        [{"text": f"a b {i}", "label": label} for i, label in enumerate(labels)],
    )
    write(tmp_path / "data/sentiment/s/de.train.jsonl.xz", [{"text": f"b a {i}", "label": "neutral"} for i in range(5)])
    write(
        tmp_path / "data/ner/n/en.dev.jsonl.xz",
        [{"tokens": ["a", f"b{i}"], "tags": ["O", "B-PER"]} for i in range(100)],
    )
    write(tmp_path / "data/topic/ag_news_testset/en.train.jsonl.xz", [{"text": "b b", "label": "World"}])
    return tmp_path / "data"


@pytest.fixture
def out(tmp_path):
    """A run folder with a tiny imported base."""
    folder = tmp_path / "run"
    (folder / "base").mkdir(parents=True)
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=6, hidden_size=8, num_hidden_layers=1, num_attention_heads=2, intermediate_size=8, pad_token_id=1
    )
    BertModel(config, add_pooling_layer=False).save_pretrained(folder / "base")
    pieces = [("<s>", -9.0), ("<pad>", -9.0), ("</s>", -9.0), ("<unk>", -9.0), ("▁a", -1.0), ("▁b", -1.0)]
    tokenizer = Tokenizer(models.Unigram(pieces, unk_id=3, byte_fallback=False))
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(replacement="▁", prepend_scheme="always")
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>", special_tokens=[("<s>", 0), ("</s>", 2)]
    )
    tokenizer.save(str(folder / "base/tokenizer.json"))
    (folder / "base/base.json").write_text('{"base": "tiny"}')
    return folder


class Stop(Exception):
    """Ends a run from its progress callback."""


def ticks():
    """A clock that advances one second a call."""
    return count().__next__


def train(data: Path, out: Path, budget_s: float = 40.0, stop_after: int | None = None) -> fine_tune.Run:
    """Run until the budget is spent, or die after so many steps of this part."""
    run = fine_tune.Run.start(RECIPE, TOPICS, out, budget_s)
    steps = count(1)

    def progress(_done: int, _total: int) -> None:
        if next(steps) == stop_after:
            run.save()
            raise Stop

    with suppress(Stop):
        run.train(load_mixture(RECIPE, data, TOPICS), ticks(), progress)
    return run


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
