"""The embedded stack: real servers that come up together, and of which nothing is ever left."""

import os
import re
import signal
import socket
import subprocess
import sys
import threading
from pathlib import Path

import pytest
import redis

from tests.local_processes import eventually, working_under
from worker.errors import InferenceUnavailable, ModelInvalid, PlatformUnsupported
from worker.local import probe
from worker.local.machine import SHARED_MEMORY
from worker.local.ports import LOOPBACK
from worker.local.stack import Addresses, Ports, Stack, StackOptions, running_stack

pytestmark = pytest.mark.integration

NULL_MODELS = Path(__file__).parents[1] / "models" / "null"
OWNER = f"""
import time
from pathlib import Path
from worker.local.stack import StackOptions, running_stack
with running_stack(StackOptions(models_dir=Path({str(NULL_MODELS)!r})), lambda line: print(line, flush=True)):
    print("all ready", flush=True)
    time.sleep(600)
"""


def silent(line: str) -> None:
    """A progress callback that shows nothing."""


def all_ready(addresses: Addresses) -> bool:
    """Whether each of the three answers where it should be."""
    return (
        probe.kafka_ready(addresses.kafka)
        and probe.redis_ready(addresses.redis_url.removeprefix("redis://").removesuffix("/0"))
        and probe.triton_ready(addresses.triton_http, addresses.triton_metrics, ("analyzer",))
    )


def regions_of(state: Path) -> list[Path]:
    """The shared-memory files of the Triton that works under `state`."""
    commands = " ".join(working_under(state).values())
    prefixes = set(re.findall(r"shm-region-prefix-name=(\S+)", commands))
    return [region for prefix in prefixes for region in SHARED_MEMORY.glob(f"{prefix}*")]


def test_everything_is_ready_and_then_gone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """All three answer inside the block, on loopback; behind it no process, file or port of theirs is left."""
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    lines: list[str] = []
    with running_stack(StackOptions(models_dir=NULL_MODELS), lines.append) as addresses:
        assert all_ready(addresses)
        assert probe.split(addresses.triton_grpc)[0] == LOOPBACK
        assert len(working_under(tmp_path)) >= 7  # three servers, their guards, Triton's stub
        regions = regions_of(tmp_path)
        assert regions
    assert not all_ready(addresses)
    assert not working_under(tmp_path)
    assert not list(tmp_path.iterdir())
    assert not [region for region in regions if region.exists()]
    assert [line for line in lines if line.startswith("redis: ready at redis://127.0.0.1:")]


def test_two_stacks_live_side_by_side() -> None:
    """Free ports and shared-memory names do not collide: tests may run in parallel."""
    options = StackOptions(models_dir=NULL_MODELS)
    with running_stack(options, silent) as first, running_stack(options, silent) as second:
        assert all_ready(first)
        assert all_ready(second)


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
@pytest.mark.parametrize("moment", ["kafka: starting", "triton: starting", "redis: ready", "all ready"])
def test_nothing_is_left_whenever_it_is_ended(tmp_path: Path, how: signal.Signals, moment: str) -> None:
    """A signal to the whole foreground group, as Ctrl-C sends it, at any step: no process or region remains."""
    process = subprocess.Popen(
        [sys.executable, "-c", OWNER],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        env={**os.environ, "TMPDIR": str(tmp_path)},
        start_new_session=True,
    )
    assert process.stdout
    next(line for line in process.stdout if line.startswith(moment))
    regions = regions_of(tmp_path)
    os.killpg(process.pid, how)
    process.wait()
    eventually(lambda: not working_under(tmp_path), "every process has ended")
    if "ready" in moment:  # before that no guard may be up yet to delete it
        eventually(lambda: not list(tmp_path.iterdir()), "the state directory is deleted")
    assert not [region for region in regions if region.exists()]


def test_only_what_was_asked_for_is_started() -> None:
    """A subset gives empty addresses for the others and needs no model."""
    options = StackOptions(servers=("redis",), models_dir=Path("/nonexistent"))
    with running_stack(options, silent) as addresses:
        assert (addresses.kafka, addresses.triton_grpc) == ("", "")
        with redis.Redis.from_url(addresses.redis_url) as client:
            assert client.config_get("maxmemory-policy") == {"maxmemory-policy": "noeviction"}
            assert client.config_get("appendonly") == {"appendonly": "yes"}


def test_fixed_ports_are_used_and_a_busy_one_is_refused() -> None:
    """A fixed port that something else holds is one line; nothing has been started by then."""
    with socket.create_server((LOOPBACK, 0)) as listener:
        port = listener.getsockname()[1]
        options = StackOptions(servers=("kafka", "redis"), ports=Ports(redis=port))
        with pytest.raises(PlatformUnsupported, match=f"redis: port {port} .* in use"), running_stack(options, silent):
            pytest.fail("it started")
    with running_stack(options, silent) as addresses:
        assert addresses.redis_url == f"redis://{LOOPBACK}:{port}/0"


def test_redis_comes_back_with_its_data_after_a_crash(tmp_path: Path) -> None:
    """A killed Redis starts again on the same port with the same append-only file."""
    stack = Stack(StackOptions(servers=("redis",), state_dir=tmp_path), silent)
    try:
        with redis.Redis.from_url(stack.start().redis_url) as client:
            client.set("kept", "yes")
            stack.kill("redis")
            stack.restart("redis")
            assert client.get("kept") == b"yes"
    finally:
        stack.stop()
    assert (tmp_path / "redis.log").exists()


def test_triton_comes_back_after_a_crash() -> None:
    """A killed Triton is really away and answers again after `restart`, on the same ports."""
    stack = Stack(StackOptions(servers=("triton",), models_dir=NULL_MODELS), silent)
    try:
        addresses = stack.start()
        doors = (addresses.triton_http, addresses.triton_metrics, ("analyzer",))
        stack.kill("triton")
        assert not probe.triton_ready(*doors)
        stack.restart("triton")
        assert probe.triton_ready(*doors)
    finally:
        stack.stop()


def test_one_state_directory_serves_one_stack(tmp_path: Path) -> None:
    """A second stack on the same files is refused while the first runs, and only then."""
    options = StackOptions(servers=("redis",), state_dir=tmp_path)
    refused = pytest.raises(PlatformUnsupported, match="another stack runs in")
    with running_stack(options, silent), refused, running_stack(options, silent):
        pytest.fail("it started")
    with running_stack(options, silent) as addresses:
        assert addresses.redis_url


def test_a_model_that_fails_to_load_is_told_with_its_reason(tmp_path: Path) -> None:
    """The error holds the end of Triton's log, with the model's own message in it."""
    version = tmp_path / "analyzer" / "1"
    version.mkdir(parents=True)
    (tmp_path / "analyzer" / "config.pbtxt").write_text((NULL_MODELS / "analyzer" / "config.pbtxt").read_text())
    (version / "model.py").write_text("raise RuntimeError('the tokenizer is missing here')\n")
    options = StackOptions(servers=("triton",), models_dir=tmp_path)
    with pytest.raises(InferenceUnavailable, match="the tokenizer is missing here"), running_stack(options, silent):
        pytest.fail("it started")


def test_a_repository_without_models_is_refused(tmp_path: Path) -> None:
    """The error names the directory."""
    options = StackOptions(servers=("triton",), models_dir=tmp_path)
    with pytest.raises(ModelInvalid, match=str(tmp_path)), running_stack(options, silent):
        pytest.fail("it started")


def test_the_stack_starts_from_any_thread() -> None:
    """The end of the thread that started it does not end the servers."""
    stack = Stack(StackOptions(servers=("redis",)), silent)
    started: list[Addresses] = []
    thread = threading.Thread(target=lambda: started.append(stack.start()))
    try:
        thread.start()
        thread.join()
        with redis.Redis.from_url(started[0].redis_url) as client:
            assert client.ping()
    finally:
        stack.stop()
