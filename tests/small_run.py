"""A training run small enough for tests: a recipe, labelled files of each task, a base of one layer, a clock."""

import json
import lzma
from contextlib import suppress
from itertools import count
from pathlib import Path

import torch
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import BertConfig, BertModel

from worker.model import fine_tune
from worker.model.recipe import Recipe, build_recipe
from worker.model.sampling import load_mixture
from worker.model.topics import read_table

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


def write(path: Path, rows: list[dict]) -> None:
    """Write rows as .jsonl.xz."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with lzma.open(path, "wt") as lines:
        lines.writelines(json.dumps(row) + "\n" for row in rows)


def make_data(folder: Path) -> Path:
    """A data directory: sentiment in two languages, entities in a dev split, topics."""
    labels = ["negative"] * 90 + ["positive"] * 10
    write(
        folder / "sentiment/s/en.train.jsonl.xz",
        [{"text": f"a b {i}", "label": label} for i, label in enumerate(labels)],
    )
    write(folder / "sentiment/s/de.train.jsonl.xz", [{"text": f"b a {i}", "label": "neutral"} for i in range(5)])
    write(
        folder / "ner/n/en.dev.jsonl.xz",
        [{"tokens": ["a", f"b{i}"], "tags": ["O", "B-PER"]} for i in range(100)],
    )
    write(folder / "topic/ag_news_testset/en.train.jsonl.xz", [{"text": "b b", "label": "World"}])
    return folder


def make_base(folder: Path) -> Path:
    """A run folder with an imported base."""
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


def train(
    data: Path, out: Path, budget_s: float = 40.0, stop_after: int | None = None, recipe: Recipe = RECIPE
) -> fine_tune.Run:
    """Run until the budget is spent, or die after so many steps of this part."""
    run = fine_tune.Run.start(recipe, TOPICS, out, budget_s)
    steps = count(1)

    def progress(_done: int, _total: int) -> None:
        if next(steps) == stop_after:
            run.save()
            raise Stop

    with suppress(Stop):
        run.train(load_mixture(recipe, data, TOPICS), ticks(), progress)
    return run
