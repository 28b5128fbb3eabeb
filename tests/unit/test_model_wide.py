"""The wide part: a table of pieces and pairs beside the encoder, and how it is learned."""

from dataclasses import replace

import pytest

torch = pytest.importorskip("torch")

from hypothesis import given  # noqa: E402 - after the skip
from hypothesis import strategies as st  # noqa: E402
from transformers import BertConfig  # noqa: E402

from tests.small_run import RECIPE, TOPICS, make_base, make_data, train  # noqa: E402
from tests.unit.test_model_search import SMALL  # noqa: E402
from worker.model import checkpoint  # noqa: E402
from worker.model.compress.shapes import keep_pieces  # noqa: E402
from worker.model.network import MultiTaskBert  # noqa: E402
from worker.model.options import Options  # noqa: E402
from worker.model.recipe import RecipeError  # noqa: E402
from worker.model.sampling import load_mixture  # noqa: E402
from worker.model.starting import copy_start, first_network  # noqa: E402
from worker.model.wide import WideTable  # noqa: E402
from worker.model.widen import of_topics, widen  # noqa: E402

pytestmark = pytest.mark.usefixtures("one_thread")

PIECES, ROWS, COLUMNS = 12, 40, 8
WIDE = """
[wide]
rows = 64
examples = 2000
batch_size = 20
learning_rate = 0.05
share = 1.0
"""


def filled(seed: int = 0) -> WideTable:
    """A table of random rows, in columns of different scales."""
    made = WideTable(PIECES, ROWS, COLUMNS)
    random = torch.Generator().manual_seed(seed)
    made.fill(torch.randn(ROWS, COLUMNS, generator=random) * torch.linspace(0.1, 1, COLUMNS), 0.5)
    return made


texts = st.lists(st.lists(st.integers(0, PIECES - 1), min_size=1, max_size=20), min_size=1, max_size=5)


@given(texts, st.integers(0, 5))
def test_a_text_has_the_same_logits_in_any_company(rows, extra):
    """To the bit: neither batch mates nor padding are counted, and no pair reaches over a text's end."""
    table, width = filled(), max(map(len, rows)) + extra
    ids, mask = torch.full((len(rows), width), 7), torch.zeros((len(rows), width), dtype=torch.int64)
    for at, row in enumerate(rows):
        ids[at, : len(row)], mask[at, : len(row)] = torch.tensor(row), 1
    together = table(ids, mask)
    for at, row in enumerate(rows):
        alone = torch.tensor([row])
        assert torch.equal(table(alone, torch.ones_like(alone))[0], together[at])


@given(st.lists(st.integers(0, PIECES - 1), min_size=1, max_size=20))
def test_what_tokens_add_sums_to_the_logits(row):
    """Nothing of a text's logits is left out, and nothing counts twice."""
    table, ids = filled(), torch.tensor(row)
    torch.testing.assert_close(table.adds(ids).sum(0), table(ids[None], torch.ones_like(ids[None]))[0])


def test_order_counts():
    """Pairs tell a text from the same words in another order."""
    table, ids = filled(), torch.tensor([[3, 4, 5], [5, 4, 3]])
    one, other = table(ids, torch.ones_like(ids))
    assert (one - other).abs().max() > 0.01


def test_a_table_keeps_its_share_of_what_was_learned():
    """To half a step of 127: what is added is the learned logits by the share, whatever the scale of a column."""
    learned = torch.randn(ROWS, COLUMNS) * torch.linspace(0.1, 10, COLUMNS)
    made = WideTable(PIECES, ROWS, COLUMNS)
    made.fill(learned, 0.3)
    kept, wanted = made.table * made.scales, learned * 0.3
    assert ((kept - wanted).abs() <= wanted.abs().amax(0) / 127 * 0.51).all()


def test_trimmed_pieces_keep_their_rows():
    """Pieces that are renumbered say what they said, alone and in pairs."""
    config = BertConfig(
        vocab_size=PIECES, hidden_size=8, num_hidden_layers=1, num_attention_heads=2, intermediate_size=8,
        pad_token_id=1, wide_rows=ROWS,
    )  # fmt: skip
    network = MultiTaskBert(config, COLUMNS).eval()
    network.wide.fill(torch.randn(ROWS, COLUMNS), 1.0)
    small = keep_pieces(network, [0, 1, 2, 5, 9])
    before, after = torch.tensor([[0, 9, 5, 2]]), torch.tensor([[0, 4, 3, 2]])
    with torch.inference_mode():
        for one, other in zip(
            network(before, torch.ones_like(before)), small(after, torch.ones_like(after)), strict=True
        ):
            torch.testing.assert_close(one, other)


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """Data, a short run, and two recipes: with a table, and without."""
    folder = tmp_path_factory.mktemp("wide")
    data = make_data(folder / "data")
    train(data, make_base(folder / "run"), budget_s=5.0)
    (folder / "narrow.toml").write_text(SMALL, encoding="utf-8")
    (folder / "wide.toml").write_text(SMALL + WIDE, encoding="utf-8")
    widen(folder / "run/ckpt-latest", folder / "wide.toml", data, folder / "widened")
    return folder


def outputs(network: MultiTaskBert, tokenizer, text: str):
    ids = torch.tensor([tokenizer.encode(text).ids])
    with torch.inference_mode():
        return network(ids, torch.ones_like(ids))


@pytest.mark.slow
def test_the_table_learns_what_the_texts_say(place):
    """`b b` is the world: topics move there; sentiment, mentions and clauses stay."""
    narrow, tokenizer, labels = checkpoint.load(place / "run/ckpt-latest")
    wide, _, kept = checkpoint.load(place / "widened")
    assert kept == labels
    before, after = outputs(narrow, tokenizer, "b b"), outputs(wide, tokenizer, "b b")
    for head in (0, 2, 3):
        assert torch.equal(before[head], after[head])
    allowed = sorted(TOPICS.columns("ag_news_testset", "World"))
    moved = (after[1] - before[1])[0]
    assert moved[allowed].min() > 0.2
    assert moved[[column for column in range(len(moved)) if column not in allowed]].max() < 0


@pytest.mark.slow
def test_a_table_is_replaced_not_added_to(place):
    """Widening twice is widening once, to the bit: it depends on the recipe and the texts alone."""
    widen(place / "widened", place / "wide.toml", place / "data", place / "again")
    once, twice = (checkpoint.load(place / name)[0].state_dict() for name in ("widened", "again"))
    assert once.keys() == twice.keys()
    for name, value in once.items():
        assert torch.equal(value, twice[name]), name


@pytest.mark.slow
def test_training_goes_on_without_the_table(place, tmp_path):
    """A run from a widened checkpoint starts from its network alone."""
    copy_start(place / "widened", tmp_path)
    listed = tuple({"id": t.id, "name": t.name, "parent": t.parent} for t in TOPICS.topics)
    network, _, _ = first_network(tmp_path, listed, Options())
    assert network.wide is None
    narrow = checkpoint.load(place / "run/ckpt-latest")[0].state_dict()
    for name, value in network.state_dict().items():
        assert torch.equal(value, narrow[name]), name


@pytest.mark.slow
def test_a_recipe_without_a_table_is_refused(place):
    """One clear line, and nothing is written."""
    with pytest.raises(RecipeError, match=r"narrow\.toml: no \[wide\]"):
        widen(place / "run/ckpt-latest", place / "narrow.toml", place / "data", place / "absent")
    assert not (place / "absent").exists()


@pytest.mark.slow
def test_tables_learn_from_texts_as_they_are(place):
    """Other tasks have no part in it, and texts are not joined in pairs or changed, whatever the recipe trains with."""
    recipe = of_topics(replace(RECIPE, options=Options(pairs=1.0, casing=0.5)))
    pool = load_mixture(recipe, place / "data", TOPICS).pool(0, 400)
    assert {(example.text, example.topic is None, example.parts) for example in pool} == {("b b", False, ())}
