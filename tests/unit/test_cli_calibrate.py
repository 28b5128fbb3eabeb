"""`polyvox calibrate` on the tiny model in this process: what is said, what is written, what a worker makes of it."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from tests.little_triton import TINY
from worker.analysis.batching_file import NAMES, read
from worker.cli import app
from worker.errors import ConfigInvalid
from worker.settings import REPOSITORY, load_settings, settings
from worker.stream.batches import with_measured_batches
from worker.tuning.texts import texts_of

POST = '{"id": "%d", "source": "x", "published_at": "2025-01-02T03:04:05Z", "text": "%s"}'
QUICK = ("--run-s", "0.01")


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[pytest.MonkeyPatch]:
    """The tiny model in this process, a small grid, no server, and no settings but these."""
    for name in [name for name in os.environ if name.startswith("POLYVOX_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("POLYVOX_MODELS_DIR", str(REPOSITORY / "tests" / "fixtures" / "tiny_models"))
    monkeypatch.setenv("POLYVOX_INFERENCE", "embedded")
    monkeypatch.setenv("POLYVOX_POOL_POSTS", "16")
    monkeypatch.chdir(tmp_path)
    settings.cache_clear()
    yield monkeypatch
    settings.cache_clear()


@pytest.fixture
def posts(tmp_path: Path) -> Path:
    """A file of posts, one of whose lines is none."""
    path = tmp_path / "posts.jsonl"
    path.write_text("\n".join(["not json", *(POST % (at, "a b c " * (at + 1)) for at in range(30))]))
    return path


def run(*arguments: str) -> Result:
    settings.cache_clear()
    return CliRunner().invoke(app, ["calibrate", *arguments])


def test_what_is_chosen_is_written_and_is_how_a_worker_batches(environment: pytest.MonkeyPatch, posts: Path):
    """With a table for people, and the variable that a worker needs; that file is then the one that is renewed."""
    ended = run("--texts", str(posts), "--latency-ms", "5000", *QUICK)
    assert ended.exit_code == 0, ended.stderr
    path = posts.with_name("batching.json")
    content = read(path)
    [chosen] = [line.split() for line in ended.stdout.splitlines() if "chosen" in line]
    assert chosen[:3] == [str(getattr(content, name)) for name in NAMES]
    assert f"POLYVOX_BATCHING_FILE={path}" in ended.stderr
    assert content.measured.model_version == TINY.model.version
    assert content.measured.texts == str(posts)
    path = path.rename(path.with_name("kept.json"))
    environment.setenv("POLYVOX_BATCHING_FILE", str(path))
    used = with_measured_batches(load_settings(), TINY.model.version)
    assert [getattr(used, name) for name in NAMES] == [getattr(content, name) for name in NAMES]
    path.write_text("broken")
    environment.setenv("POLYVOX_BATCH_POSTS", "16")
    again = run("--texts", str(posts), "--latency-ms", "5000", *QUICK)
    assert again.exit_code == 0
    assert "POLYVOX_BATCH_POSTS is set here" in again.stderr
    read(path)


def test_json_is_what_is_written(posts: Path):
    """One object, nothing else, with the figures of every way."""
    ended = run("--texts", str(posts), "--latency-ms", "5000", "--json", "--out", "found.json", *QUICK)
    assert json.loads(ended.stdout) == json.loads(posts.with_name("found.json").read_text())
    assert json.loads(ended.stdout)["measured"]["figures"]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--texts", "absent.jsonl"], "absent.jsonl"),
        (["--texts", "empty.jsonl"], "holds no post"),
        (["--out", "absent/batching.json"], "--out"),
        (["--latency-ms", "0"], "--latency-ms"),
    ],
    ids=["absent", "empty", "no directory", "no bound"],
)
def test_wrong_usage_measures_nothing(posts: Path, arguments: list[str], said: str):
    """It ends at once, with 2 and one line, and leaves no file."""
    posts.with_name("empty.jsonl").write_text("not json\n")
    ended = run("--texts", str(posts), *arguments, *QUICK)
    assert (ended.exit_code, ended.stdout) == (2, "")
    assert said in ended.stderr
    assert not posts.with_name("batching.json").exists()


def test_a_server_that_is_away_is_a_problem_found(environment: pytest.MonkeyPatch, posts: Path):
    """1, with its address, and no file."""
    environment.setenv("POLYVOX_INFERENCE", "triton")
    environment.setenv("POLYVOX_TRITON_URL", "127.0.0.1:9")
    environment.setenv("POLYVOX_TRITON_TIMEOUT_S", "1")
    ended = run("--texts", str(posts), *QUICK)
    assert ended.exit_code == 1
    assert "127.0.0.1:9" in ended.stderr
    assert not posts.with_name("batching.json").exists()


def test_the_samples_are_sent_when_no_file_is_named(posts: Path):
    """And the file says so."""
    ended = run("--latency-ms", "5000", *QUICK)
    assert ended.exit_code == 0, ended.stderr
    assert read(posts.with_name("batching.json")).measured.texts == "samples"


def test_a_file_is_sent_in_the_same_random_order_each_time(posts: Path):
    """All of its posts: a sorted file would have a short run send the posts of one source only."""
    lines = posts.read_text().splitlines()[1:]
    found = texts_of(str(posts))
    assert found == texts_of(str(posts))
    assert [text for text, _ in found] != [json.loads(line)["text"] for line in lines]
    assert sorted(text for text, _ in found) == sorted(json.loads(line)["text"] for line in lines)


def test_without_samples_a_file_must_be_named(tmp_path: Path):
    """As where polyvox was installed from a package."""
    with pytest.raises(ConfigInvalid, match="--texts"):
        texts_of(None, tmp_path)


def test_the_two_calibrations_tell_each_other_apart():
    """Each help text says what it is about and names the other one."""
    speed = " ".join(run("--help").stdout.split())
    certainty = " ".join(CliRunner().invoke(app, ["model", "calibrate", "--help"]).stdout.split())
    assert "About speed" in speed
    assert "polyvox model calibrate" in speed
    assert "how sure answers are" in certainty
    assert "`polyvox calibrate`" in certainty
