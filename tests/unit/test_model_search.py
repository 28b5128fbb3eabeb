"""The search: so many trials in all, near the recipe's numbers, resumable, and a recipe as its result."""

import tomllib
from dataclasses import replace
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")
pytest.importorskip("optuna")

from tests.small_run import RECIPE, TOPICS, make_base, make_data, write  # noqa: E402 - after the skip
from worker.model import search  # noqa: E402
from worker.model.options import Options  # noqa: E402
from worker.model.recipe import read_recipe  # noqa: E402

pytestmark = pytest.mark.usefixtures("one_thread")

ANALYZER = Path(search.__file__).parent / "recipes/analyzer.toml"
SMALL = """base = "tiny"
vocabulary = 10
seed = 3

[optimiser]
encoder_lr = 1e-3  # of the encoder
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
sources = [{ name = "s", weight = 1.0 }]

[ner]
share = 0.3
loss_weight = 1.0
sources = [{ name = "n", weight = 1.0, split = "dev" }]

[topic]
share = 0.2
loss_weight = 1.0
sources = [{ name = "ag_news_testset", weight = 1.0 }]
"""


class Recorder:
    """An objective that likes low rates, and may be interrupted."""

    def __init__(self, fail_at: int = -1) -> None:
        self.tried, self.folders, self.fail_at = [], [], fail_at

    def __call__(self, recipe, folder):
        self.tried.append(recipe)
        self.folders.append(folder.name)
        if len(self.tried) == self.fail_at:
            (folder / "state.pt").write_text("half done")
            raise KeyboardInterrupt
        return -recipe.optimiser.encoder_lr


def test_the_recipe_comes_first_and_the_best_is_returned(tmp_path):
    """Six trials, the first the recipe itself; the best has the lowest rate tried; no folder is left."""
    record, seen = Recorder(), []
    best = search.explore(RECIPE, tmp_path, 6, record, lambda done, total: seen.append((done, total)))
    assert record.tried[0] == RECIPE
    rates = [recipe.optimiser.encoder_lr for recipe in record.tried]
    assert len(set(rates)) == 6
    assert best["encoder_lr"] == min(rates)
    assert all(2.5e-4 <= rate <= 4e-3 for rate in rates)
    assert seen[-1] == (6, 6)
    assert [path.name for path in tmp_path.iterdir()] == ["search.db"]


def test_an_interrupted_search_goes_on_where_it_stopped(tmp_path):
    """The third trial is interrupted: the next search takes up its numbers in its folder, and makes up the number."""
    first, second = Recorder(fail_at=3), Recorder()
    with pytest.raises(KeyboardInterrupt):
        search.explore(RECIPE, tmp_path, 4, first)
    assert (tmp_path / first.folders[-1] / "state.pt").is_file()
    search.explore(RECIPE, tmp_path, 4, second)
    assert len(second.tried) == 2
    assert second.tried[0] == first.tried[-1]
    assert second.folders[0] == first.folders[-1]
    assert second.tried[1] not in first.tried
    search.explore(RECIPE, tmp_path, 4, again := Recorder())
    assert again.tried == []


def test_the_result_is_the_recipe_with_other_numbers(tmp_path):
    """Of the shipped recipe only the four numbers change; a missing section is added, a comment stays."""
    numbers = {"encoder_lr": 2.5e-4, "heads_lr": 1e-3, "batch_size": 64, "layer_decay": 0.9}
    path = tmp_path / "recipe.toml"
    path.write_text(search.with_numbers(ANALYZER.read_text(encoding="utf-8"), numbers), encoding="utf-8")
    before, after = read_recipe(ANALYZER), read_recipe(path)
    optimiser = replace(before.optimiser, encoder_lr=2.5e-4, heads_lr=1e-3, batch_size=64)
    assert after == replace(before, optimiser=optimiser, options=replace(before.options, layer_decay=0.9))
    text = search.with_numbers(SMALL + "[options]\naverage = 0.9\n", numbers)
    assert "encoder_lr = 0.00025  # of the encoder" in text
    assert tomllib.loads(text)["options"] == {"average": 0.9, "layer_decay": 0.9}


def test_a_whole_search_on_a_tiny_network(tmp_path):
    """Real runs, real scores: the recipe it leaves can be read, and the base is shared, not copied."""
    data, out = make_data(tmp_path / "data"), make_base(tmp_path / "run")
    write(data / "sentiment/s/en.dev.jsonl.xz", [{"text": "a", "label": "positive"}] * 5)
    label = next(iter(TOPICS.sources["ag_news_testset"]))
    write(data / "topic/ag_news_testset/en.dev.jsonl.xz", [{"text": "b", "label": label}] * 5)
    path = tmp_path / "recipe.toml"
    path.write_text(SMALL, encoding="utf-8")
    best = search.search(path, data, out, budget_s=0.2, trials=2)
    assert best == out / "recipe.toml"
    assert isinstance(read_recipe(best).options, Options)
    assert sorted(each.name for each in out.iterdir()) == ["base", "recipe.toml", "search.db"]
