"""The recipe's options: each does what it says to the weights, and none is on by itself."""

import json
import sys
from dataclasses import replace

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")

from hypothesis import given, settings  # noqa: E402 - after the skip
from hypothesis import strategies as st  # noqa: E402
from transformers import BertConfig  # noqa: E402

from tests.small_run import RECIPE, TOPICS, make_base, make_data  # noqa: E402
from tests.small_run import train as run_tests_recipe  # noqa: E402
from worker.model import checkpoint, fine_tune  # noqa: E402
from worker.model.batches import Batch  # noqa: E402
from worker.model.curves import Curves, CurvesError  # noqa: E402
from worker.model.data import IGNORED  # noqa: E402
from worker.model.fgm import shifted, watched, worst_shift  # noqa: E402
from worker.model.freezing import make_optimiser  # noqa: E402
from worker.model.gradients import add_gradients, weighted_loss  # noqa: E402
from worker.model.losses import sentiment_losses  # noqa: E402
from worker.model.network import MultiTaskBert  # noqa: E402
from worker.model.options import Options, OptionsError, build_options  # noqa: E402
from worker.model.r_drop import disagreement, symmetric_kl  # noqa: E402
from worker.model.recipe import RecipeError, build_recipe  # noqa: E402

pytestmark = pytest.mark.usefixtures("one_thread")

TRAINED = "encoder.layer.0.output.dense.weight"


def recipe_with(**options):
    """The tests' recipe with some options on."""
    return replace(RECIPE, options=Options(**options))


def network_of(layers: int = 3, **options) -> MultiTaskBert:
    """A tiny network with random weights."""
    torch.manual_seed(1)
    config = BertConfig(
        vocab_size=6, hidden_size=8, num_hidden_layers=layers, num_attention_heads=2, intermediate_size=8,
        hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0, max_position_embeddings=16,
    )  # fmt: skip
    return MultiTaskBert(config, 3, dropout=options.get("head_dropout", 0.0)).train()


def batch_of(*sentiments: int) -> Batch:
    """One text a label; IGNORED stands for a text of another task."""
    size = len(sentiments)
    ids = torch.tensor([[0, 4 + n % 2, 5, 2] for n in range(size)])
    labels = torch.tensor(sentiments)
    return Batch(
        ids, torch.ones_like(ids), labels, torch.zeros(size, dtype=torch.bool),
        torch.zeros(size, 3, dtype=torch.bool), torch.full(ids.shape, IGNORED),
        torch.zeros(size, 2, ids.shape[1], dtype=torch.bool), torch.full((size, 2), IGNORED),
        torch.zeros(size, 2, dtype=torch.bool),
    )  # fmt: skip


def gradients(network: MultiTaskBert) -> dict[str, torch.Tensor]:
    """The gradient of every weight that has one."""
    return {name: p.grad.clone() for name, p in network.named_parameters() if p.grad is not None}


@pytest.fixture
def data(tmp_path):
    return make_data(tmp_path / "data")


@pytest.fixture
def out(tmp_path):
    return make_base(tmp_path / "run")


def train(data, out, recipe, budget_s=20.0, stop_after=None):
    """A small run by a recipe."""
    return run_tests_recipe(data, out, budget_s, stop_after, recipe)


def test_no_options_is_every_option_off():
    """A recipe without the section trains as before there was one; a section may name a few."""
    assert build_options({}) == Options()
    assert build_options({"accumulate": 4}).accumulate == 4
    assert RECIPE.options == Options()


@pytest.mark.parametrize(
    ("raw", "says"),
    [
        ({"acumulate": 2}, "options.acumulate"),
        ({"accumulate": 0}, "options.accumulate"),
        ({"layer_decay": 1.5}, "options.layer_decay"),
        ({"adapter": "prefix"}, "options.adapter"),
        ({"class_weights": [1.0, 2.0]}, "options.class_weights"),
        ({"r_drop": 1.0, "head_dropout": 0.0}, "dropout"),
    ],
)
def test_a_wrong_option_is_named(raw, says):
    """An unknown or impossible option is an error with its name, in one line."""
    with pytest.raises(OptionsError, match=says) as error:
        build_options(raw)
    assert "\n" not in str(error.value)


def test_the_options_are_read_from_the_recipe():
    """The section `[options]` of the TOML arrives in the recipe."""
    tasks = {name: {"share": 0.3, "loss_weight": 1.0, "sources": []} for name in ("sentiment", "ner", "topic")}
    raw = {"base": "b", "vocabulary": 1, "seed": 1, "languages": {}, "optimiser": vars(RECIPE.optimiser), **tasks}
    assert build_recipe({**raw, "options": {"fgm": 0.5}}).options.fgm == 0.5


def test_accumulated_gradients_are_those_of_one_large_batch():
    """Two halves with `accumulate = 2` give the gradient of the whole."""
    network = network_of()
    add_gradients(network, batch_of(0, 1, 2, 0), recipe_with(head_dropout=0.0))
    whole = gradients(network)
    network.zero_grad()
    for half in (batch_of(0, 1), batch_of(2, 0)):
        add_gradients(network, half, recipe_with(accumulate=2, head_dropout=0.0))
    for name, value in gradients(network).items():
        assert torch.allclose(value, whole[name], atol=1e-6), name


def test_an_accumulating_run_reads_so_many_batches_a_step(data, out):
    """20 steps of 3 batches of 4 are 240 examples, and a run that is killed and resumed ends the same."""
    recipe = recipe_with(accumulate=3)
    whole = train(data, out, recipe)
    assert (whole.position.step, whole.position.examples) == (20, 240)
    (out / "state.pt").unlink()
    train(data, out, recipe, stop_after=13)
    again = train(data, out, recipe)
    assert torch.equal(whole.network.topic.weight, again.network.topic.weight)


def test_frozen_layers_do_not_move(data, out):
    """With its only layer frozen the encoder stays as it was, and the heads train."""
    run = fine_tune.Run.start(RECIPE, TOPICS, out, 20.0)
    before = {name: value.clone() for name, value in run.network.state_dict().items()}
    after = train(data, out, recipe_with(freeze_layers=1)).network.state_dict()
    assert all(torch.equal(before[name], after[name]) for name in before if name.startswith("encoder."))
    assert not torch.equal(before["tags.weight"], after["tags.weight"])
    with pytest.raises(RecipeError, match="has 3 layers"):
        make_optimiser(network_of(), recipe_with(freeze_layers=4))


def test_each_layer_has_the_rate_of_the_one_above_times_the_decay():
    """The top layer trains at the encoder's rate, the embeddings slowest; without decay there is one group."""
    network = network_of()
    optimiser = make_optimiser(network, recipe_with(layer_decay=0.5))
    rate_of = {id(p): group["peak_lr"] for group in optimiser.param_groups for p in group["params"]}
    layers = network.encoder.encoder.layer
    rates = [rate_of[id(layer.output.dense.weight)] / RECIPE.optimiser.encoder_lr for layer in layers]
    assert rates == [0.25, 0.5, 1.0]
    embedding = network.encoder.embeddings.position_embeddings.weight
    assert rate_of[id(embedding)] / RECIPE.optimiser.encoder_lr == 0.125
    assert rate_of[id(network.topic.weight)] == RECIPE.optimiser.heads_lr
    plain = make_optimiser(network_of(), RECIPE)
    assert [group["peak_lr"] for group in plain.param_groups] == [1e-3, 1e-2]


def test_a_class_weight_scales_the_loss_of_its_rows():
    """A negative row of weight 3 costs three times as much; others stay."""
    logits, labels, two = torch.randn(3, 3), torch.tensor([0, 1, IGNORED]), torch.tensor([False] * 3)
    even, weighted = sentiment_losses(logits, labels, two), sentiment_losses(logits, labels, two, (3.0, 1.0, 1.0))
    assert torch.allclose(weighted, even * torch.tensor([3.0, 1.0, 1.0]))


def test_the_checkpoint_holds_the_average(data, out):
    """With a decay so near 1 that nothing moves, the checkpoint is the first step's; the run itself goes on."""
    run = train(data, out, recipe_with(average=0.999999))
    saved, _, _ = checkpoint.load(out / "ckpt-latest")
    last = run.network.state_dict()
    one_step = out.parent / "one"
    one_step.mkdir()
    (one_step / "base").symlink_to(out / "base")
    first = train(data, one_step, RECIPE, 1.0)
    assert torch.allclose(saved.topic.weight, first.network.topic.weight, atol=1e-4)
    assert not torch.allclose(saved.topic.weight, last["topic.weight"], atol=1e-3)


@given(st.lists(st.floats(-5, 5), min_size=6, max_size=6))
@settings(deadline=None)
def test_disagreement_is_symmetric_and_zero_only_with_oneself(values):
    """KL in both directions: never negative, the same both ways round."""
    first, second = torch.tensor([values[:3]]), torch.tensor([values[3:]])
    assert symmetric_kl(first, first).item() == 0
    assert symmetric_kl(first, second).item() == pytest.approx(symmetric_kl(second, first).item(), abs=1e-5)
    assert symmetric_kl(first, second).item() >= -1e-6


def test_r_drop_compares_labelled_rows_only():
    """Worked by hand: p = (3/4, 1/4) and q = (1/4, 3/4) disagree by log(3) / 2; an unlabelled row does not."""
    p, q = torch.tensor([[0.75, 0.25]]).log(), torch.tensor([[0.25, 0.75]]).log()
    assert symmetric_kl(p, q).item() == pytest.approx(0.5493, abs=1e-4)
    batch = batch_of(0, IGNORED)
    apart = disagreement((p.repeat(2, 1), p.repeat(2, 1)), (q.repeat(2, 1), q.repeat(2, 1)), batch)
    assert apart["sentiment"].item() == pytest.approx(0.5493, abs=1e-4)
    assert apart["topic"].item() == 0


def test_r_drop_costs_only_what_dropout_makes_differ():
    """Without randomness both passes agree and the loss is the plain one; with it the loss is larger."""
    quiet, noisy = network_of(), network_of(head_dropout=0.5)
    batch, with_it = batch_of(0, 1, 2), recipe_with(r_drop=50.0)
    assert weighted_loss(quiet, batch, with_it)[0].item() == pytest.approx(
        weighted_loss(quiet, batch, RECIPE)[0].item(), rel=1e-6
    )
    assert weighted_loss(noisy, batch, with_it)[0] > weighted_loss(quiet, batch, RECIPE)[0] * 1.05


def test_the_worst_shift_raises_the_loss_and_has_its_length():
    """Each text's shift is as long as asked, and the loss there is above the loss of the shift's opposite."""
    network, batch, recipe = network_of(), batch_of(0, 1, 2), recipe_with(head_dropout=0.0)
    for parameter in network.encoder.embeddings.parameters():
        parameter.requires_grad_(False)
    with watched(network) as seen:
        weighted_loss(network, batch, recipe)[0].backward()
    shift = worst_shift(seen, 0.3)
    assert torch.allclose(shift.norm(dim=(1, 2)), torch.full((3,), 0.3), atol=1e-5)
    with torch.no_grad():
        plain = weighted_loss(network, batch, recipe)[0]
        with shifted(network, shift):
            worse = weighted_loss(network, batch, recipe)[0]
        with shifted(network, -shift):
            better = weighted_loss(network, batch, recipe)[0]
        after = weighted_loss(network, batch, recipe)[0]
    assert better < plain < worse
    assert after == plain, "the hooks stayed"


def test_fgm_adds_the_gradients_at_the_shifted_place():
    """The gradients differ from the plain ones, and the frozen embeddings get none."""
    network = network_of()
    make_optimiser(network, RECIPE)
    add_gradients(network, batch_of(0, 1), RECIPE)
    plain = gradients(network)
    network.zero_grad()
    add_gradients(network, batch_of(0, 1), recipe_with(fgm=1.0))
    both = gradients(network)
    assert plain.keys() == both.keys()
    assert "encoder.embeddings.word_embeddings.weight" not in both
    assert both["sentiment.weight"].norm() > 1.2 * plain["sentiment.weight"].norm()


@pytest.mark.parametrize("adapter", ["lora", "adalora"])
def test_an_adapted_run_saves_plain_weights_that_compute_the_same(data, out, adapter):
    """Only adapters and heads train; the checkpoint has no trace of them but answers as the run does; it resumes."""
    pytest.importorskip("peft")
    recipe = recipe_with(adapter=adapter, adapter_rank=2, average=0.5)
    start = {
        name: value.clone()
        for name, value in fine_tune.Run.start(RECIPE, TOPICS, out, 30.0).network.state_dict().items()
    }
    whole = train(data, out, recipe, 30.0)
    saved, _, _ = checkpoint.load(out / "ckpt-latest")
    assert saved.state_dict().keys() == start.keys()
    assert not torch.equal(saved.encoder.state_dict()[TRAINED], start["encoder." + TRAINED])
    norm = "encoder.encoder.layer.0.output.LayerNorm.weight"
    assert torch.equal(saved.state_dict()[norm], start[norm])
    ids = torch.tensor([[0, 4, 5, 2]])
    expected, got = whole.average.module.eval()(ids, torch.ones_like(ids)), saved(ids, torch.ones_like(ids))
    assert torch.allclose(expected[1], got[1], atol=1e-5)

    (out / "state.pt").unlink()
    train(data, out, recipe, 30.0, stop_after=17)
    again = train(data, out, recipe, 30.0)
    for name, value in whole.network.state_dict().items():
        assert torch.equal(value, again.network.state_dict()[name]), name


def test_adalora_gives_up_ranks(data, out):
    """It starts with half as many ranks again as asked for and ends with what was asked, however few its steps."""
    pytest.importorskip("peft")
    network = train(data, out, recipe_with(adapter="adalora", adapter_rank=2), 7.0).network
    kept = [int((p != 0).sum()) for name, p in network.named_parameters() if "lora_E" in name]
    assert sum(kept) == 2 * len(kept)


def test_adalora_remembers_what_it_learned_about_the_ranks(data, out):
    """A run taken up again weighs the ranks by all steps, not by those since."""
    pytest.importorskip("peft")
    recipe = recipe_with(adapter="adalora", adapter_rank=2)
    stopped = train(data, out, recipe, 40.0, stop_after=17).ranks.state_dict()
    resumed = fine_tune.Run.start(recipe, TOPICS, out, 40.0).ranks.state_dict()
    assert stopped["pattern"] == resumed["pattern"]
    for name, sums in stopped["sums"].items():
        assert sums, name
        assert all(torch.equal(value, resumed["sums"][name][key]) for key, value in sums.items())


def test_a_run_cannot_be_resumed_with_an_option_it_was_not_started_with(data, out):
    """An average that state.pt does not hold is an error that says so."""
    train(data, out, RECIPE, 3.0)
    with pytest.raises(checkpoint.CheckpointError, match="average"):
        fine_tune.Run.start(recipe_with(average=0.9), TOPICS, out, 3.0)


def test_the_losses_are_curves_of_tensorboard(data, out):
    """After 100 steps the run folder holds a curve for each task, beside the line of train.jsonl."""
    events = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    train(data, out, RECIPE, 120.0)
    board = events.EventAccumulator(str(out / "tensorboard"))
    board.Reload()
    [line] = [json.loads(line) for line in (out / "train.jsonl").read_text().splitlines()]
    for task, mean in line["loss"].items():
        [point] = board.Scalars(f"loss/{task}")
        assert (point.step, point.value) == (100, pytest.approx(mean, abs=1e-4))


def test_wandb_is_asked_for_by_name_and_missed_at_once(tmp_path, monkeypatch):
    """A recipe with a project and no wandb installed is one clear error before the first step."""
    monkeypatch.setitem(sys.modules, "wandb", None)
    with pytest.raises(CurvesError, match="pip install wandb"):
        Curves(tmp_path, "polyvox")


def test_wandb_gets_the_figures_and_the_same_run_again(tmp_path, monkeypatch):
    """Figures arrive with their step; the folder resumes its run by id."""
    wandb = Wandb()
    monkeypatch.setitem(sys.modules, "wandb", wandb)
    for _ in range(2):
        curves = Curves(tmp_path, "polyvox")
        curves.add(100, {"loss/ner": 0.5})
        curves.close()
    assert [started["id"] for started in wandb.started] == [None, "abc"]
    assert wandb.logged == [({"loss/ner": 0.5}, 100)] * 2


class Wandb:
    """What we use of the package wandb, which tests do without."""

    id = "abc"

    def __init__(self) -> None:
        self.started: list[dict] = []
        self.logged: list[tuple[dict, int]] = []

    def init(self, **settings):
        self.started.append(settings)
        return self

    def log(self, figures, step):
        self.logged.append((figures, step))

    def finish(self) -> None:
        """Nothing to end."""
