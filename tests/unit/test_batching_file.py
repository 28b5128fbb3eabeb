"""The file of measured batches: read whole or refused, below the environment, and only for what was measured."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from structlog.testing import capture_logs

from tests.measured_batches import MODEL, VALUES, content_of
from worker.analysis.batching_file import NAMES, BatchingFile, read, write
from worker.errors import ConfigInvalid
from worker.settings import REPOSITORY, load_settings
from worker.stream.batches import with_measured_batches

COUNTS = st.integers(1, 10_000)


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """No settings but those of the test."""
    for name in [name for name in os.environ if name.startswith("POLYVOX_")]:
        monkeypatch.delenv(name)
    return monkeypatch


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A file of `VALUES`, for `MODEL` on Triton."""
    found = tmp_path / "batching.json"
    write(found, content_of())
    return found


def batches(settings: object) -> dict[str, int]:
    return {name: getattr(settings, name) for name in NAMES}


@given(st.fixed_dictionaries({"batch_posts": COUNTS, "batch_tokens": COUNTS.map(lambda n: n + 15)}), COUNTS)
def test_what_was_written_is_read(tmp_path_factory: pytest.TempPathFactory, sizes: dict[str, int], in_flight: int):
    """A file comes back as it was, over whatever was there before."""
    path = tmp_path_factory.getbasetemp() / "same.json"
    content = content_of(sizes | {"batches_in_flight": in_flight})
    write(path, content)
    assert read(path) == content


def test_without_a_file_the_settings_stay_as_they_are():
    """Nobody has to calibrate."""
    settings = load_settings()
    assert with_measured_batches(settings, MODEL) == settings


@pytest.mark.parametrize("given_names", [(), *[(name,) for name in NAMES], NAMES], ids=str)
def test_the_environment_wins_over_the_file_and_the_file_over_the_defaults(
    environment: pytest.MonkeyPatch, path: Path, given_names: tuple[str, ...]
):
    """Each of the three by itself, also where the environment says what is the default anyway."""
    defaults = batches(load_settings())
    environment.setenv("POLYVOX_BATCHING_FILE", str(path))
    for name in given_names:
        environment.setenv(f"POLYVOX_{name.upper()}", str(defaults[name]))
    found = batches(with_measured_batches(load_settings(), MODEL))
    assert found == {name: (defaults if name in given_names else VALUES)[name] for name in NAMES}


@pytest.mark.parametrize(
    ("content", "named"),
    [
        (content_of(model="analyzer:1.1.0+00000000"), "analyzer:1.1.0+00000000"),
        (content_of(engine="embedded"), "embedded"),
    ],
    ids=["model", "engine"],
)
def test_what_was_measured_on_something_else_is_passed_over_with_a_warning(
    path: Path, content: BatchingFile, named: str
):
    """The worker starts with its defaults, and says which file, why, and what to do."""
    write(path, content)
    settings = load_settings(batching_file=path)
    with capture_logs() as logs:
        assert batches(with_measured_batches(settings, MODEL)) == batches(load_settings())
    [line] = logs
    assert (line["log_level"], line["file"]) == ("warning", str(path))
    assert named in line["why"]
    assert "polyvox calibrate" in line["what_to_do"]


BROKEN = {
    "absent": None,
    "empty": b"",
    "cut": msgspec.json.encode(content_of())[:-20],
    "another format": msgspec.json.encode(content_of()).replace(b'"format":1', b'"format":2'),
    "no tokens": msgspec.json.encode(content_of()).replace(b'"batch_tokens":8192', b'"batch_tokens":0'),
    "not UTF-8": b'"\xff"',
}


@pytest.mark.parametrize("broken", BROKEN)
def test_a_broken_file_is_named_and_nothing_starts(tmp_path: Path, broken: str):
    """ConfigInvalid with the path and what to do; never half of its values."""
    path = tmp_path / "batching.json"
    if (text := BROKEN[broken]) is not None:
        path.write_bytes(text)
    with pytest.raises(ConfigInvalid, match=r"batching\.json .*polyvox calibrate"):
        with_measured_batches(load_settings(batching_file=path), MODEL)


def test_the_worker_ends_with_2_for_a_broken_file_before_it_asks_any_server(tmp_path: Path):
    """As for every other setting that cannot work; in a process of its own, since it would wait for Kafka else."""
    environment = os.environ | {"POLYVOX_BATCHING_FILE": str(tmp_path / "absent.json")}
    environment |= {f"POLYVOX_{name}": "127.0.0.1:9" for name in ("KAFKA_BROKERS", "TRITON_URL")}
    command = [sys.executable, "-m", "worker", "run", "--role", "enrich"]
    ended = subprocess.run(command, cwd=REPOSITORY, env=environment, capture_output=True, timeout=30, check=False)
    assert ended.returncode == 2
    assert b"absent.json" in ended.stderr


def test_a_file_that_cannot_be_written_says_so(tmp_path: Path):
    """And names the option that helps."""
    with pytest.raises(ConfigInvalid, match="--out"):
        write(tmp_path / "absent" / "batching.json", content_of())
