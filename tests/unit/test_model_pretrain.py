"""Pre-training: whole words are hidden, pairs come from ordered text, runs resume, and the result is a base."""

import json
import lzma
from contextlib import suppress
from dataclasses import replace
from itertools import count, groupby
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")

from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors  # noqa: E402 - after the skip
from transformers import BertConfig, BertModel  # noqa: E402

from tests.small_run import RECIPE as FINE_TUNING  # noqa: E402
from tests.small_run import Stop, make_data, ticks  # noqa: E402
from tests.small_run import train as fine_tune  # noqa: E402
from worker.model.base import BaseImportError, open_base  # noqa: E402
from worker.model.data import IGNORED  # noqa: E402
from worker.model.fine_tune import prepare as prepare_fine_tuning  # noqa: E402
from worker.model.pretrain import run as pretraining  # noqa: E402
from worker.model.pretrain.batches import Batcher, MaskError  # noqa: E402
from worker.model.pretrain.masking import Vocabulary, mask_words  # noqa: E402
from worker.model.pretrain.recipe import build_recipe, read_recipe  # noqa: E402
from worker.model.pretrain.text import Passage, RawTextError, load_texts  # noqa: E402
from worker.model.recipe import RecipeError  # noqa: E402
from worker.model.sampling import NoDataError  # noqa: E402

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("one_thread")]

SHIPPED = Path(pretraining.__file__).parents[1] / "recipes" / "pretrain.toml"
MASK, PLAIN = 4, range(5, 12)
PIECES = ["<s>", "<pad>", "</s>", "<unk>", "<mask>", "▁a", "▁b", "▁c", "▁", "a", "b", "c"]
RECIPE = build_recipe(
    {
        "base": "tiny", "vocabulary": 12, "seed": 3,
        "mask_share": 0.3, "pair_share": 0.5, "temperature": 0.5, "max_lines": 50,
        "optimiser": {
            "encoder_lr": 1e-3, "heads_lr": 1e-2, "warm_up": 0.1, "weight_decay": 0.01,
            "batch_size": 4, "max_tokens": 16, "bf16": False,
        },
        "languages": ["en", "ja"],
        "sources": [{"name": "news", "weight": 1.0, "ordered": True}, {"name": "words", "weight": 1.0}],
    }
)  # fmt: skip


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with lzma.open(path, "wt") as lines:
        lines.write(text)


def tokenizer(pieces: list[str] = PIECES) -> Tokenizer:
    made = Tokenizer(models.Unigram([(piece, -float(len(piece) == 1)) for piece in pieces], unk_id=3))
    made.normalizer = normalizers.NFKC()
    made.pre_tokenizer = pre_tokenizers.Metaspace(replacement="▁", prepend_scheme="always")
    made.post_processor = processors.TemplateProcessing(single="<s> $A </s>", special_tokens=[("<s>", 0), ("</s>", 2)])
    return made


@pytest.fixture
def data(tmp_path):
    """Ordered news whose lines count on, and words in two languages."""
    folder = tmp_path / "data"
    write(folder / "raw/news/en.txt.xz", "".join(f"{'a' * (at + 1)} b\n" for at in range(8)))
    write(folder / "raw/words/en.txt.xz", "c c\n\n  \nca c\n")
    write(folder / "raw/words/ja.txt.xz", "abcabcabc\n")
    return folder


@pytest.fixture
def out(tmp_path):
    """A run folder with a base of one layer."""
    folder = tmp_path / "run"
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=12, hidden_size=8, num_hidden_layers=1, num_attention_heads=2, intermediate_size=8, pad_token_id=1
    )
    BertModel(config, add_pooling_layer=False).save_pretrained(folder / "base")
    tokenizer().save(str(folder / "base/tokenizer.json"))
    (folder / "base/base.json").write_text('{"base": "tiny"}')
    return folder


def train(data: Path, out: Path, stop_after: int | None = None) -> pretraining.PretrainRun:
    """Run for 30 steps in all, or die after so many steps of this part."""
    run = pretraining.PretrainRun.start(RECIPE, out, 30.0)
    steps = count(1)

    def progress(_done: int, _total: int) -> None:
        if next(steps) == stop_after:
            run.save()
            raise Stop

    with suppress(Stop):
        run.train(load_texts(RECIPE, data), ticks(), progress)
    return run


@given(
    words=st.lists(st.integers(1, 4), min_size=1, max_size=20),
    share=st.floats(0.01, 1.0),
    seed=st.integers(0, 10_000).map(str),
)
def test_words_are_hidden_whole_or_not_at_all(words, share, seed):
    """Every piece of a word is asked for or none; about the share is, at least one; the rest of the text stays."""
    numbers = [number for number, length in enumerate(words) for _ in range(length)]
    ids = [5 + at % 7 for at in range(len(numbers))]
    masked = mask_words(ids, numbers, share, Vocabulary(MASK, PLAIN), seed)
    chosen = [place in masked.places for place in range(len(ids))]
    for _, word in groupby(zip(numbers, chosen, strict=True), key=lambda pair: pair[0]):
        assert len({asked for _, asked in word}) == 1
    wanted = max(1, round(share * len(ids)))
    assert wanted <= len(masked.places) < wanted + max(words)
    assert masked.targets == [ids[place] for place in masked.places]
    assert all(masked.ids[place] == ids[place] for place in range(len(ids)) if not chosen[place])
    assert all(masked.ids[place] in {MASK, *PLAIN} for place in masked.places)


def test_most_chosen_pieces_are_hidden_and_some_are_left_or_replaced():
    """80, 10 and 10 %: a network that only ever guesses at masks would learn nothing of words it can see."""
    ids = [5] * 4000
    masked = mask_words(ids, range(4000), 1.0, Vocabulary(MASK, range(6, 12)), "seed")
    assert masked.ids.count(MASK) / 4000 == pytest.approx(0.8, abs=0.03)
    assert masked.ids.count(5) / 4000 == pytest.approx(0.1, abs=0.02)


def test_a_pair_keeps_its_order_and_its_ends():
    """Two texts share the room, the second has a type of its own, and only pieces of text are asked for."""
    batcher = Batcher.of(tokenizer(), 1, 0.5, max_tokens=9, batch_size=2)
    pair = batcher.row(Passage("en", "a a a a a a", "b b", follows=True), "seed")
    assert len(pair.ids) == 8
    assert (pair.ids[0], pair.ids[pair.first_size - 1], pair.ids[-1]) == (0, 2, 2)
    assert pair.first_size == 5
    assert set(pair.targets) <= {5, 6}
    [batch] = batcher.batches([Passage("en", "a a a a a a", "b b", follows=True), Passage("en", "c")], "seed")
    assert sorted(batch.follows.tolist()) == [IGNORED, 1]
    row = batch.follows.tolist().index(1)
    assert batch.token_types[row].tolist() == [0] * 5 + [1] * 3
    assert batch.token_types[1 - row].sum() == 0
    shown = batch.input_ids.flatten()[batch.places].tolist()
    assert not {0, 1, 2} & set(shown)


def test_a_sentence_without_spaces_is_not_one_word():
    """Japanese is masked by pieces; the tokenizer takes the whole sentence for a word, which would vanish at once."""
    batcher = Batcher.of(tokenizer(), 1, 0.2, max_tokens=32, batch_size=1)
    assert len(batcher.row(Passage("ja", "abcabcabc"), "seed").targets) == 2
    assert len(batcher.row(Passage("en", "abcabcabc"), "seed").targets) == 9


def test_wordpiece_bases_take_the_same_path():
    """Pieces that go on with ## belong to the word before them; the mask is [MASK]."""
    pieces = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "un", "##be", "##lieve", "it"]
    made = Tokenizer(models.WordPiece({piece: at for at, piece in enumerate(pieces)}, unk_token="[UNK]"))
    made.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    made.post_processor = processors.BertProcessing(("[SEP]", 3), ("[CLS]", 2))
    batcher = Batcher.of(made, 0, 0.5, max_tokens=12, batch_size=1)
    row = batcher.row(Passage("en", "unbelieve", "it it", follows=False), "seed")
    assert (row.ids[0], row.ids[4], row.ids[-1], row.first_size) == (2, 3, 3, 5)
    assert row.targets == [5, 6, 7, 8]
    assert batcher.vocabulary.mask_id == 4
    assert batcher.vocabulary.plain_ids == [5, 6, 7, 8]


def test_pairs_come_from_ordered_sources_and_half_of_them_follow(data):
    """A pair that follows stands so in the file, another one does not; unordered sources give single texts."""
    pool = load_texts(RECIPE, data).pool(0, 2000)
    pairs = [passage for passage in pool if passage.second is not None]
    assert all("c" not in passage.first for passage in pairs)
    for pair in pairs:
        assert (len(pair.second) - len(pair.first) == 1) == pair.follows
        assert pair.second != pair.first
    assert sum(pair.follows for pair in pairs) / len(pairs) == pytest.approx(0.5, abs=0.06)


def test_languages_come_by_temperature(data):
    """Ten English lines to one Japanese are drawn as the root of ten to one."""
    pool = load_texts(RECIPE, data).pool(0, 4000)
    english = sum(passage.language == "en" for passage in pool)
    assert english / (4000 - english) == pytest.approx(10**0.5, rel=0.15)


def test_a_resumed_run_ends_where_an_uninterrupted_one_does(data, out, tmp_path):
    """Killed in the middle and taken up again, a run gives the same weights to the bit."""
    whole = tmp_path / "whole"
    whole.mkdir()
    (whole / "base").symlink_to(out / "base")
    uninterrupted = train(data, whole)
    train(data, out, stop_after=11)
    resumed = train(data, out)
    assert resumed.position.step == uninterrupted.position.step == 30
    for name, value in uninterrupted.network.state_dict().items():
        assert torch.equal(value, resumed.network.state_dict()[name]), name


def test_the_result_is_a_base_that_fine_tuning_takes(data, out, tmp_path):
    """The encoder moved, the word embeddings did not, and a fine-tuning starts from it."""
    before = BertModel.from_pretrained(out / "base", add_pooling_layer=False).state_dict()
    trained = train(data, out).network.encoder.state_dict()
    encoder, _, name = open_base(out / "pretrained")
    assert name == "tiny, pre-trained further"
    for weight, value in encoder.state_dict().items():
        assert torch.equal(value, trained[weight]), weight
    words, dense = "embeddings.word_embeddings.weight", "encoder.layer.0.output.dense.weight"
    assert torch.equal(before[words], trained[words])
    assert not torch.equal(before[dense], trained[dense])

    next_run = tmp_path / "next"
    next_run.mkdir()
    prepare_fine_tuning(FINE_TUNING, data, next_run, out / "pretrained")
    assert fine_tune(make_data(data), next_run, budget_s=2.0).labels.base == name


def test_it_learns(data, out):
    """On eight lines the loss of the hidden pieces falls well below that of a blind guess, log 12."""
    run = pretraining.PretrainRun.start(RECIPE, out, 300.0)
    run.train(load_texts(RECIPE, data), ticks())
    lines = [json.loads(line)["loss"] for line in (out / "train.jsonl").read_text().splitlines()]
    assert lines[-1]["pieces"] < lines[0]["pieces"]
    assert lines[-1]["pieces"] < 2.0


def test_bad_text_is_named(data):
    """A missing source, an empty file and a damaged one are errors with the file, before anything is written."""
    missing = replace(RECIPE, sources=(replace(RECIPE.sources[0], name="absent"),))
    with pytest.raises(NoDataError, match="absent"):
        load_texts(missing, data)
    write(data / "raw/words/ja.txt.xz", "\n \n")
    with pytest.raises(RawTextError, match=r"words/ja\.txt\.xz holds no text"):
        load_texts(RECIPE, data)
    (data / "raw/words/ja.txt.xz").write_bytes((data / "raw/news/en.txt.xz").read_bytes()[:40])
    with pytest.raises(RawTextError, match=r"words/ja\.txt\.xz cannot be read"):
        load_texts(RECIPE, data)


def test_a_base_that_cannot_be_trained_is_named(data, tmp_path):
    """A folder without base.json says how to make one, a tokenizer without a mask piece what it lacks."""
    with pytest.raises(BaseImportError, match="import-base"):
        pretraining.prepare(RECIPE, data, tmp_path / "out", tmp_path)
    with pytest.raises(MaskError, match=r"\[MASK\]"):
        Batcher.of(tokenizer([piece for piece in PIECES if piece != "<mask>"]), 1, 0.15, 16, 4)


def test_the_shipped_recipe_reads_and_a_bad_one_is_named(tmp_path):
    """recipes/pretrain.toml is valid; an unknown field and an impossible share are errors with the file."""
    assert any(source.ordered for source in read_recipe(SHIPPED).sources)
    path = tmp_path / "recipe.toml"
    path.write_text(SHIPPED.read_text().replace("mask_share = 0.15", "mask_share = 15"))
    with pytest.raises(RecipeError, match=r"recipe\.toml: mask_share is 15"):
        read_recipe(path)
    path.write_text(SHIPPED.read_text().replace("pair_share", "pairs_share"))
    with pytest.raises(RecipeError, match=r"recipe\.toml: .*pairs_share"):
        read_recipe(path)
