"""Compression: what is kept computes as before, students learn from the full network, and the result is exported."""

from contextlib import suppress
from dataclasses import replace
from itertools import count
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")
onnx = pytest.importorskip("onnx")

from tokenizers import Tokenizer, models, pre_tokenizers, processors  # noqa: E402 - after the skip

from tests.small_network import collate, probabilities, session  # noqa: E402
from tests.small_run import RECIPE as TEXTS  # noqa: E402
from tests.small_run import TOPICS, Stop, make_base, make_data, ticks  # noqa: E402
from worker.model import checkpoint  # noqa: E402
from worker.model.attention_heads import heads_of  # noqa: E402
from worker.model.batches import Batch, Batcher  # noqa: E402
from worker.model.compress import losses  # noqa: E402
from worker.model.compress import run as steps  # noqa: E402
from worker.model.compress.costs import measure_costs  # noqa: E402
from worker.model.compress.distil import Distillation  # noqa: E402
from worker.model.compress.importance import choose_heads, head_importance  # noqa: E402
from worker.model.compress.recipe import CompressRecipe, read_recipe  # noqa: E402
from worker.model.compress.run import Compression, Plan, parse_layers  # noqa: E402
from worker.model.compress.shapes import CompressError, keep_heads, keep_layers, keep_pieces, spread_layers  # noqa: E402
from worker.model.export import export, to_onnx  # noqa: E402
from worker.model.network import MultiTaskBert  # noqa: E402
from worker.model.recipe import RecipeError  # noqa: E402
from worker.model.sampling import load_mixture  # noqa: E402
from worker.model.served import load_served  # noqa: E402

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("one_thread")]

SHIPPED = Path(steps.__file__).parents[1] / "recipes" / "compress.toml"
LAYERS, HEADS, WIDTH, PIECES = 4, 4, 64, 20
RECIPE = CompressRecipe("texts.toml", 3, 2.0, 1.0, 3, replace(TEXTS.optimiser, encoder_lr=3e-3))


@pytest.fixture
def network() -> MultiTaskBert:
    """Four layers of four heads, with weights large enough to matter."""
    torch.manual_seed(0)
    config = transformers.BertConfig(
        vocab_size=PIECES, hidden_size=WIDTH, num_hidden_layers=LAYERS, num_attention_heads=HEADS,
        intermediate_size=WIDTH, max_position_embeddings=64, pad_token_id=1, initializer_range=0.2,
    )  # fmt: skip
    made = MultiTaskBert(config, len(TOPICS.topics))
    made.apply(lambda part: torch.nn.init.normal_(part.bias, std=0.2) if isinstance(part, torch.nn.Linear) else None)
    return made.eval()


@pytest.fixture
def source(network, tmp_path) -> Path:
    """A checkpoint of the network."""
    pieces = ["<s>", "<pad>", "</s>", "<unk>", "a", "b", *map(str, range(10)), "x", "y", "z", "w"]
    tokenizer = Tokenizer(models.WordLevel({piece: at for at, piece in enumerate(pieces)}, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>", special_tokens=[("<s>", 0), ("</s>", 2)]
    )
    topics = tuple({"id": t.id, "name": t.name, "parent": t.parent} for t in TOPICS.topics)
    checkpoint.save(tmp_path / "full", network, tokenizer, checkpoint.Labels(topics, "tiny", 48, ("en", "de")))
    return tmp_path / "full"


@pytest.fixture
def data(tmp_path):
    return make_data(tmp_path / "data")


def ids() -> torch.Tensor:
    return torch.randint(2, PIECES, (3, 9), generator=torch.Generator().manual_seed(5))


def answers(network: MultiTaskBert, tokens: torch.Tensor) -> tuple[torch.Tensor, ...]:
    with torch.inference_mode():
        return network(tokens, torch.ones_like(tokens))


def batches(source: Path, data: Path) -> list[Batch]:
    _, tokenizer, labels = checkpoint.load(source)
    batcher = Batcher(tokenizer, 1, len(labels.topics), frozenset(), 8)
    return batcher.batches(load_mixture(TEXTS, data, TOPICS).pool(0, 16), "seed")


def test_heads_that_give_nothing_can_go_unnoticed(network):
    """With the output of the pruned heads at zero before, the network without them answers the same, on every head."""
    keep = [[0, 2], [1], [0, 1, 2, 3], [3]]
    size = WIDTH // HEADS
    for layer, heads in zip(network.encoder.encoder.layer, keep, strict=True):
        for head in set(range(HEADS)) - set(heads):
            layer.attention.output.dense.weight.data[:, head * size : (head + 1) * size] = 0
    pruned = keep_heads(network, keep)
    assert heads_of(pruned.config) == [2, 1, 4, 1]
    for before, after in zip(answers(network, ids()), answers(pruned, ids()), strict=True):
        torch.testing.assert_close(before, after)


def test_layers_are_the_chosen_ones(network):
    """A student of layers 1 and 3 is what a network of these two layers computes, heads and all; the full one stays."""
    pruned = keep_heads(network, [[0], [1, 2], [0], [0, 1, 3]])
    student = keep_layers(pruned, [1, 3])
    assert heads_of(student.config) == [2, 3]
    pruned.encoder.encoder.layer = torch.nn.ModuleList(pruned.encoder.encoder.layer[at] for at in (1, 3))
    for before, after in zip(answers(pruned, ids()), answers(student, ids()), strict=True):
        torch.testing.assert_close(before, after)
    assert len(network.encoder.encoder.layer) == LAYERS


def test_kept_pieces_answer_as_before(network):
    """With renumbered ids the smaller network gives the same logits."""
    keep = [0, 1, 2, 5, 9, 13]
    small = keep_pieces(network, keep)
    before, after = answers(network, torch.tensor([[0, 9, 13, 2]])), answers(small, torch.tensor([[0, 4, 5, 2]]))
    assert small.config.vocab_size == 6
    for one, other in zip(before, after, strict=True):
        torch.testing.assert_close(one, other)


@given(st.integers(1, 24).flatmap(lambda count: st.tuples(st.just(count), st.integers(1, count))))
def test_spread_layers_rise_and_end_with_the_last(pair):
    """So many layers, none twice, gaps that differ by one at most."""
    found = spread_layers(*pair)
    assert (len(found), found[-1]) == (pair[1], pair[0] - 1)
    gaps = np.diff([-1, *found])
    assert gaps.min() >= 1
    assert gaps.max() - gaps.min() <= 1


def test_importance_is_the_gradient_of_a_gate(network, source, data):
    """It equals the derivative of each text's loss by a factor on the head's output, taken by finite differences."""

    def loss(asked, batch):
        return asked(batch.input_ids, batch.attention_mask)[0].square().sum()

    found = batches(source, data)[:1]
    importance = head_importance(network, found, loss)
    size, step, layer = WIDTH // HEADS, 1e-2, 2
    dense = network.encoder.encoder.layer[layer].attention.output.dense.weight.data
    numeric = torch.zeros(HEADS)
    for head in range(HEADS):
        columns, texts = slice(head * size, (head + 1) * size), []
        before = dense[:, columns].clone()
        for gate in (1 + step, 1 - step):
            dense[:, columns] = before * gate
            texts.append(answers_loss(network, found[0]))
        dense[:, columns] = before
        numeric[head] = ((texts[0] - texts[1]) / (2 * step)).abs().sum()
    torch.testing.assert_close(importance[layer], numeric / numeric.norm(), rtol=0.02, atol=0.01)


def answers_loss(network: MultiTaskBert, batch: Batch) -> torch.Tensor:
    with torch.inference_mode():
        return network(batch.input_ids, batch.attention_mask)[0].square().sum(1)


@given(
    st.lists(st.lists(st.floats(0, 1), min_size=1, max_size=6), min_size=1, max_size=6),
    st.floats(0, 1),
)
def test_the_least_important_heads_go_and_no_layer_is_left_without(importance, share):
    """As many go as asked for; none that goes matters more than one that stays, the last of a layer aside."""
    layers = [torch.tensor(values) for values in importance]
    total = sum(map(len, layers))
    if int(share * total) > total - len(layers):
        with pytest.raises(CompressError, match="can go"):
            choose_heads(layers, share)
        return
    keep = choose_heads(layers, share)
    assert total - sum(map(len, keep)) == int(share * total)
    assert all(keep)
    gone = [float(v[head]) for v, kept in zip(layers, keep, strict=True) for head in set(range(len(v))) - set(kept)]
    spare = [float(v[head]) for v, kept in zip(layers, keep, strict=True) for head in kept if head != int(v.argmax())]
    assert max(gone, default=0) <= min(spare, default=1)


def test_a_student_that_is_its_teacher_has_no_loss(network, source, data):
    """Both distances are 0 between equals, and grow when a layer is skipped; padding counts for nothing."""
    batch = next(batch for batch in batches(source, data) if not batch.attention_mask.all())
    own, hidden = losses.passed(network, batch)
    same = losses.answer_losses(own, own, batch, 2.0)
    assert set(same) == {"sentiment", "topic", "tags", "token_sentiment"}
    assert all(loss.item() == pytest.approx(0, abs=1e-5) for loss in same.values())
    assert losses.hidden_loss(hidden, hidden, range(LAYERS), batch).item() == 0
    other, others = losses.passed(keep_layers(network, [1, 3]), batch)
    assert all(loss.item() > 1e-3 for loss in losses.answer_losses(other, own, batch, 2.0).values())
    assert losses.hidden_loss(others, hidden, (1, 3), batch).item() > 1e-3
    spoiled = tuple(torch.where(batch.attention_mask[..., None] == 1, state, 99.0) for state in hidden)
    assert losses.hidden_loss(spoiled, hidden, range(LAYERS), batch).item() == 0
    padding = batch.attention_mask[..., None] == 0
    strange = (*own[:2], *(torch.where(padding, torch.arange(logits.shape[-1]), logits) for logits in own[2:]))
    strange_losses = losses.answer_losses(strange, own, batch, 2.0)
    assert all(loss.item() == pytest.approx(0, abs=1e-5) for loss in strange_losses.values())


def distil(source: Path, out: Path, data: Path, stop_after: int | None = None) -> Distillation:
    """Teach layers 1 and 3 for 40 steps in all, or die after so many steps of this part."""
    if not out.exists():
        network, tokenizer, labels = checkpoint.load(source)
        checkpoint.save(out / "student", keep_layers(network, [1, 3]), tokenizer, labels)
    run = Distillation.start(RECIPE, source, out, [1, 3], 40.0)
    done = count(1)

    def progress(_done: int, _total: int) -> None:
        if next(done) == stop_after:
            run.save()
            raise Stop

    with suppress(Stop):
        run.train(load_mixture(TEXTS, data, TOPICS), ticks(), progress)
    return run


def test_a_student_comes_nearer_and_resumes_to_the_bit(source, data, tmp_path):
    """Killed in the middle and taken up again, it ends where an uninterrupted one does: nearer to the teacher."""
    whole = distil(source, tmp_path / "whole", data)
    distil(source, tmp_path / "parts", data, stop_after=13)
    resumed = distil(source, tmp_path / "parts", data)
    assert resumed.position.step == whole.position.step == 40
    student, _, _ = checkpoint.load(tmp_path / "parts/ckpt-latest")
    for name, value in whole.student.state_dict().items():
        assert torch.equal(value, student.state_dict()[name]), name

    teacher, _, _ = checkpoint.load(source)
    untaught, _, _ = checkpoint.load(tmp_path / "parts/student")
    [batch, *_] = batches(source, data)
    wanted, _ = losses.passed(teacher, batch)
    near, far = (
        sum(loss.item() for loss in losses.answer_losses(losses.passed(each, batch)[0], wanted, batch, 1.0).values())
        for each in (student, untaught)
    )
    assert near < far / 2


@pytest.fixture
def compression(tmp_path, data):
    """A maker of compressions that take a second of training a step."""

    def make(**plan) -> Compression:
        return Compression(Plan(budget_s=0.4, **plan), tmp_path / "small", RECIPE, TEXTS, data)

    return make


def test_the_steps_end_in_a_checkpoint_that_is_exported(compression, source, data, tmp_path):
    """Half the layers and a third of their heads: the bundle answers as the checkpoint, and training can go on from it.

    Measured at each step, the file shrinks.
    """
    stages = compression(layers=(1, 3), heads=0.4).run(source)
    assert [stage.name.split()[0] for stage in stages] == ["as", "layers", "heads"]
    network, _, _ = checkpoint.load(tmp_path / "small/compressed")
    assert sum(heads_of(network.config)) == 8 - 3

    rows = [[0, 4, 5, 2], [0, 5, 5, 4, 6, 7, 2]]
    batch = {name: torch.from_numpy(value) for name, value in collate(rows, 8).items()}
    expected = answers_of(network, batch)
    for precision, tolerance in (("float32", 0.002), ("int4-embeddings", 0.06), ("int8", 0.08)):
        for found, output in zip(session(to_onnx(network, precision))(rows, 8)[:2], expected[:2], strict=True):
            assert np.abs(probabilities(found) - probabilities(output.numpy())).max() < tolerance

    export(tmp_path / "small/compressed", tmp_path / "analyzer/1", "1.0.0", "float32")
    costs = list(measure_costs([stages[0], stages[-1]], data_with_dev(data), TEXTS, 5))
    assert [cost.precision for cost in costs] == ["float32", "float32", "int4-embeddings", "int8"]
    sizes = [cost.size_bytes for cost in costs]
    assert sizes == sorted(sizes, reverse=True)
    assert len(set(sizes)) == 4
    assert all(0 <= cost.sentiment <= 1 and cost.posts_per_s > 0 for cost in costs)


def answers_of(network: MultiTaskBert, batch: dict[str, torch.Tensor]) -> tuple[torch.Tensor, ...]:
    with torch.inference_mode():
        return network(batch["input_ids"], batch["attention_mask"])


def data_with_dev(data: Path) -> Path:
    """The labelled files as dev files too."""
    for path in list(data.glob("*/*/*.train.jsonl.xz")):
        path.with_name(path.name.replace("train", "dev")).write_bytes(path.read_bytes())
    return data


def test_a_trimmed_vocabulary_is_the_teachers_too(compression, source, tmp_path):
    """The student learns from the trimmed network, over the same pieces, and a text reads as before."""
    stages = compression(vocabulary=12, layers=2).run(source)
    network, tokenizer, _ = checkpoint.load(tmp_path / "small/compressed")
    assert stages[1].name == "12 pieces"
    assert len(network.encoder.encoder.layer) == 2
    assert network.config.vocab_size == tokenizer.get_vocab_size() < PIECES
    assert tokenizer.encode("a b").tokens == ["<s>", "a", "b", "</s>"]


def test_pruned_heads_survive_a_served_bundle(network, source, tmp_path):
    """An int8 bundle of a network with different heads in each layer is read back with them."""
    _, tokenizer, labels = checkpoint.load(source)
    checkpoint.save(tmp_path / "pruned", keep_heads(network, [[0], [1, 2], [0, 1, 2, 3], [3]]), tokenizer, labels)
    export(tmp_path / "pruned", tmp_path / "analyzer/1", "1.0.0")
    served, _, _ = load_served(tmp_path / "analyzer/1")
    assert heads_of(served.config) == [1, 2, 4, 1]
    pruned, _, _ = checkpoint.load(tmp_path / "pruned")
    for before, after in zip(answers(pruned, ids()), answers(served, ids()), strict=True):
        assert (before.softmax(-1) - after.softmax(-1)).abs().max() < 0.05


def test_a_step_that_was_made_is_not_made_again(compression, source, tmp_path):
    """The same plan leaves finished steps alone, another one is refused before anything is changed."""
    compression(heads=0.25).run(source)
    student = tmp_path / "small/heads/student/weights.safetensors"
    before = student.stat().st_mtime_ns
    weights = (tmp_path / "small/compressed/weights.safetensors").read_bytes()
    compression(heads=0.25).run(source)
    assert student.stat().st_mtime_ns == before
    assert (tmp_path / "small/compressed/weights.safetensors").read_bytes() == weights
    with pytest.raises(CompressError, match="another plan"):
        compression(heads=0.5).run(source)


@pytest.mark.parametrize(
    ("plan", "message"),
    [
        ({"layers": 5}, "5 layers of 4"),
        ({"layers": (1, 4)}, "no layer 4"),
        ({"heads": 0.9}, "only 12 can go"),
        ({"vocabulary": 20}, "nothing to trim"),
    ],
)
def test_a_plan_that_the_network_cannot_give_is_refused(plan, message, compression, source):
    """At once, with what there is; and the folder can be used for a better one."""
    with pytest.raises(CompressError, match=message):
        compression(**plan).run(source)
    assert compression().run(source)[-1].name == "as given"


def test_sources_that_cannot_be_compressed_are_named(compression, tmp_path):
    """A base has no heads yet; a folder without a network is one."""
    with pytest.raises(CompressError, match="fine-tune it first"):
        compression().run(make_base(tmp_path / "run") / "base")
    with pytest.raises(checkpoint.CheckpointError, match="nothing"):
        compression().run(tmp_path / "nothing")


@pytest.mark.parametrize(("text", "layers"), [("6", 6), ("1,3,5", (1, 3, 5))])
def test_layers_are_a_number_or_a_list(text, layers):
    """What the command line gives."""
    assert parse_layers(text) == layers


@pytest.mark.parametrize("text", ["", "a", "3,1", "1,1", "1,", "-2"])
def test_other_layers_are_refused(text):
    """The message shows both forms."""
    with pytest.raises(CompressError, match="such as 6"):
        parse_layers(text)


def test_the_shipped_recipe_reads_and_a_bad_one_is_named(tmp_path):
    """recipes/compress.toml is valid and its texts stand beside it; an unknown field is an error with the file."""
    assert (SHIPPED.parent / read_recipe(SHIPPED).texts).is_file()
    path = tmp_path / "recipe.toml"
    path.write_text(SHIPPED.read_text().replace("temperature", "heat"))
    with pytest.raises(RecipeError, match=r"recipe\.toml: .*heat"):
        read_recipe(path)
