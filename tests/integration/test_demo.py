"""The demo as a user runs it: it ends by itself with a summary that adds up, and nothing of it is ever left."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.local_processes import eventually, working_under
from worker.settings import REPOSITORY

pytestmark = pytest.mark.integration

FIXTURES = REPOSITORY / "tests" / "fixtures"
TINY_MODELS = FIXTURES / "tiny_models"
END_S = 120.0
LONG_AGO = "2001-02-03T04:05:06+07:00"
POSTS = 300
POISON = (b"not json", b'{"id": "1"}', b"\xff\xfe", b"null")
CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f]")


@pytest.fixture(scope="module")
def samples(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Few posts in few languages, and what cannot be analysed."""
    directory = tmp_path_factory.mktemp("samples")
    texts = [line for line in (FIXTURES / "sentences.txt").read_text(encoding="utf-8").splitlines() if line.strip()]
    for name in ("posts.social", "posts.financial"):
        lines = [
            json.dumps({"id": f"{name}-{n}", "source": "x", "published_at": LONG_AGO, "text": texts[n % len(texts)]})
            for n in range(POSTS)
        ]
        (directory / f"{name}.jsonl").write_text("\n".join(lines) + "\n")
    (directory / "poison.jsonl").write_bytes(b"\n".join(POISON) + b"\n")
    return directory


@dataclass
class Demo:
    """A demo that runs in a process of its own, with its temporary files under `place`."""

    process: subprocess.Popen[str]
    place: Path

    def wait_for(self, step: str) -> None:
        """Read its steps up to one that holds `step`."""
        assert self.process.stderr is not None
        seen = []
        for line in self.process.stderr:
            seen.append(line)
            if step in line:
                return
        pytest.fail(f"the demo ended before {step!r}:\n{''.join(seen)}")

    def end(self) -> tuple[str, str]:
        """Its output and what was left of its errors, when it has ended."""
        return self.process.communicate(timeout=END_S)

    def require_nothing_left(self) -> None:
        """No process of it runs, and no file of polyvox's lies about."""
        eventually(lambda: not working_under(self.place), f"{working_under(self.place)} runs on")
        eventually(lambda: not list(self.place.glob("polyvox*")), "a temporary directory is left")


@pytest.fixture
def demo(samples: Path, tmp_path: Path) -> Iterator[Demo]:
    """A started demo."""
    place = tmp_path / "demo"
    place.mkdir()
    process = subprocess.Popen(
        [sys.executable, "-m", "worker", "demo", "--models", str(TINY_MODELS), "--samples", str(samples)],
        cwd=REPOSITORY,
        env=os.environ | {"TMPDIR": str(place)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    yield Demo(process, place)
    process.kill()
    process.communicate()


def summary_of(output: str) -> dict[str, Any]:
    """The object in the last line."""
    found: dict[str, Any] = json.loads(output.rstrip("\n").splitlines()[-1])
    return found


def test_the_demo_ends_by_itself_and_its_summary_adds_up(demo: Demo) -> None:
    """Every record has an outcome, poison is named by its reason, tombstones stand apart; plain lines in a file."""
    output, errors = demo.end()
    assert demo.process.returncode == 0, errors
    summary = summary_of(output)
    assert summary["produced"] == 2 * POSTS + len(POISON) - 1
    assert summary["analysed"] + summary["dead_lettered"] == summary["produced"]
    assert summary["tombstones"] == 1
    assert summary["dead_letter_reasons"] == {"not_json": 1, "missing_field": 1, "bad_utf8": 1}
    assert sum(summary["languages"].values()) == summary["analysed"] == 2 * POSTS
    assert summary["events_per_s"] > 0
    for stage in ("enriched", "aggregated"):
        latencies = summary["latency_ms"][stage]
        assert 0 < latencies["p50"] <= latencies["p95"] <= latencies["p99"]
    assert "not_json" in output.rsplit("\n", 2)[0]
    assert not CONTROL.search(output + errors)
    demo.require_nothing_left()


@pytest.mark.parametrize("step", ["kafka: starting", "triton: ready", "replay:"])
def test_ctrl_c_leaves_nothing(demo: Demo, step: str) -> None:
    """Whatever the demo is doing when Ctrl-C comes, it ends with 130, quietly, and nothing of it is left."""
    demo.wait_for(step)
    demo.process.send_signal(signal.SIGINT)
    output, errors = demo.end()
    assert (demo.process.returncode, output) == (130, "")
    assert "Traceback" not in errors
    demo.require_nothing_left()


def test_an_impatient_ctrl_c_does_not_disturb_the_stopping(demo: Demo) -> None:
    """A second and a third Ctrl-C while it stops change nothing."""
    demo.wait_for("worker: ready")
    demo.process.send_signal(signal.SIGINT)
    demo.wait_for("stopping")
    demo.process.send_signal(signal.SIGINT)
    demo.process.send_signal(signal.SIGTERM)
    _, errors = demo.end()
    assert (demo.process.returncode, errors) == (130, "")
    demo.require_nothing_left()


@pytest.mark.parametrize(("number", "status"), [(signal.SIGTERM, 143), (signal.SIGKILL, -signal.SIGKILL)])
def test_a_killed_demo_leaves_nothing(demo: Demo, number: signal.Signals, status: int) -> None:
    """SIGTERM stops it in order; after SIGKILL the servers end by themselves."""
    demo.wait_for("replay:")
    demo.process.send_signal(number)
    demo.end()
    assert demo.process.returncode == status
    eventually(lambda: not working_under(demo.place), "its servers run on")


def test_a_worker_that_dies_is_one_clear_error(demo: Demo) -> None:
    """The end of the worker's log is shown, and nothing is left."""
    demo.wait_for("worker: ready")
    [worker] = [pid for pid, command in working_under_repository().items() if f"{demo.place}" in environment_of(pid)]
    os.kill(worker, signal.SIGKILL)
    output, errors = demo.end()
    assert (demo.process.returncode, output) == (1, "")
    assert "the worker ended with status 137" in errors
    demo.require_nothing_left()


def working_under_repository() -> dict[int, str]:
    """The worker processes on this machine."""
    return {pid: command for pid, command in working_under(REPOSITORY).items() if "-m worker run" in command}


def environment_of(pid: int) -> str:
    """The environment that a process was started with."""
    return Path(f"/proc/{pid}/environ").read_bytes().decode(errors="replace")


def test_samples_that_are_missing_are_named_before_anything_starts(tmp_path: Path) -> None:
    """A wrong directory is wrong usage, and said at once."""
    command = [sys.executable, "-m", "worker", "demo", "--samples", str(tmp_path)]
    ended = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, timeout=END_S, check=False)
    assert (ended.returncode, ended.stdout) == (2, "")
    assert "posts.*.jsonl" in ended.stderr
    assert len(ended.stderr.strip().splitlines()) == 1


def test_a_busy_port_is_named_by_up() -> None:
    """`polyvox up` says which port is taken, and exits as wrong usage does."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        command = [sys.executable, "-m", "worker", "up", "--free-ports", "--port", f"kafka={port}"]
        variables = os.environ | {"POLYVOX_MODELS_DIR": str(TINY_MODELS)}
        ended = subprocess.run(
            command, cwd=REPOSITORY, env=variables, capture_output=True, text=True, timeout=END_S, check=False
        )
    assert ended.returncode == 2
    assert str(port) in ended.stderr
    assert "Traceback" not in ended.stderr
