"""The packaged Triton and its own environment."""

import json
import os
import signal
import subprocess
import sys
import threading
import urllib.request
from pathlib import Path

import pytest

from tests.local_processes import eventually, working_under
from worker.errors import PlatformUnsupported
from worker.local.environment import ensure_triton_environment, is_current, site_packages
from worker.local.stack import Addresses, StackOptions, running_stack
from worker.settings import REPOSITORY

pytestmark = pytest.mark.integration

MODELS = Path(__file__).parents[1] / "models"
IMPORTS = ("numpy", "onnxruntime", "tokenizers", "msgspec", "worker.text.language")
PROBE_CONFIG = """
name: "probe"
backend: "python"
max_batch_size: 8
input [ { name: "text", data_type: TYPE_STRING, dims: [ 1 ] } ]
output [ { name: "found", data_type: TYPE_STRING, dims: [ 1 ] } ]
"""
PROBE_MODEL = f"""
import importlib, json
import numpy as np
import triton_python_backend_utils as pb_utils

class TritonPythonModel:
    def execute(self, requests):
        return [self.answer(request) for request in requests]

    def answer(self, request):
        (text,) = pb_utils.get_input_tensor_by_name(request, "text").as_numpy().ravel()
        found = {{name: importlib.import_module(name).__file__ for name in {IMPORTS!r}}}
        found |= {{"text": text.decode(), "numpy version": np.__version__}}
        tensor = pb_utils.Tensor("found", np.array([[json.dumps(found).encode()]], dtype=object))
        return pb_utils.InferenceResponse(output_tensors=[tensor])
"""


def silent(line: str) -> None:
    """A progress callback that shows nothing."""


def infer(addresses: Addresses, model: str, inputs: list[dict[str, object]]) -> dict[str, dict[str, list[object]]]:
    """One inference over HTTP; returns the outputs by name."""
    request = urllib.request.Request(
        f"http://{addresses.triton_http}/v2/models/{model}/infer", json.dumps({"inputs": inputs}).encode()
    )
    with urllib.request.urlopen(request, timeout=30) as response:
        return {output["name"]: output for output in json.load(response)["outputs"]}


def test_models_see_their_own_environment_and_this_checkout(tmp_path: Path) -> None:
    """Strings pass through (numpy below 2), models import from Triton's environment and from here."""
    version = tmp_path / "probe" / "1"
    version.mkdir(parents=True)
    (tmp_path / "probe" / "config.pbtxt").write_text(PROBE_CONFIG)
    (version / "model.py").write_text(PROBE_MODEL)
    options = StackOptions(servers=("triton",), models_dir=tmp_path)
    text = "Grüße, 世界"
    with running_stack(options, silent) as addresses:
        answer = infer(addresses, "probe", [{"name": "text", "shape": [1, 1], "datatype": "BYTES", "data": [text]}])
    found = json.loads(str(answer["found"]["data"][0]))
    assert found.pop("text") == text
    assert found.pop("numpy version").startswith("1.")
    assert Path(found.pop("worker.text.language")).is_relative_to(REPOSITORY / "worker")
    packages = site_packages(options.triton_environment)
    assert all(Path(file).is_relative_to(packages) for file in found.values())


def test_the_null_analyzer_answers_in_the_analyzers_shapes() -> None:
    """Constant logits: neutral, the first topic, no entity; one row per post, one tag row per token."""
    options = StackOptions(servers=("triton",), models_dir=MODELS / "null", model_names=("analyzer",))
    tensor = {"shape": [2, 3], "datatype": "INT64", "data": [5, 6, 7, 8, 9, 1]}
    with running_stack(options, silent) as addresses:
        answer = infer(addresses, "analyzer", [{"name": name, **tensor} for name in ("input_ids", "attention_mask")])
    assert {name: output["shape"] for name, output in answer.items()} == {
        "sentiment_logits": [2, 3],
        "topic_logits": [2, 14],
        "tag_logits": [2, 3, 7],
        "token_sentiment_logits": [2, 3, 3],
    }
    assert answer["sentiment_logits"]["data"] == [0, 4, 0] * 2


def test_an_installation_is_complete_or_made_again(tmp_path: Path) -> None:
    """Made once; current until the requirements change; a directory without the stamp is never taken for complete."""
    environment, requirements = tmp_path / "environment", tmp_path / "triton.in"
    requirements.write_text("# nothing to download\n")
    lines: list[str] = []
    environment.mkdir()
    (environment / "half").touch()
    ensure_triton_environment(environment, lines.append, requirements)
    assert len(lines) == 2
    assert not (environment / "half").exists()
    assert (site_packages(environment) / "polyvox.pth").read_text() == f"{REPOSITORY}\n"
    ensure_triton_environment(environment, lines.append, requirements)
    assert len(lines) == 2
    requirements.write_text("# another list\n")
    assert not is_current(environment, requirements)


def test_a_failed_installation_says_why(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The error holds what pip said and what to do; the environment is not taken for complete."""
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    requirements = tmp_path / "triton.in"
    requirements.write_text("a-package-that-is-not-there==1\n")
    with pytest.raises(PlatformUnsupported, match=r"(?s)a-package-that-is-not-there==1.*run the same command again"):
        ensure_triton_environment(tmp_path / "environment", silent, requirements)
    assert not is_current(tmp_path / "environment", requirements)


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_an_interrupted_installation_leaves_no_process(tmp_path: Path, how: signal.Signals) -> None:
    """Ctrl-C, or worse, while pip runs: pip ends too, and the environment is not taken for complete."""
    environment, requirements = tmp_path / "environment", tmp_path / "triton.in"
    os.mkfifo(tmp_path / "never.txt")  # pip waits for ever for its writer
    requirements.write_text(f"-r {tmp_path / 'never.txt'}\n")
    script = (
        "from pathlib import Path; from worker.local.environment import ensure_triton_environment as ensure; "
        f"ensure(Path({str(environment)!r}), print, Path({str(requirements)!r}))"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", script],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    eventually(lambda: any(" pip " in command for command in working_under(environment).values()), "pip runs")
    os.killpg(process.pid, how)
    process.wait()
    eventually(lambda: not working_under(environment), "every process has ended")
    assert not is_current(environment, requirements)


def test_two_installations_at_once_make_one(tmp_path: Path) -> None:
    """The second waits for the first and finds its work done."""
    environment, requirements = tmp_path / "environment", tmp_path / "triton.in"
    requirements.write_text("# nothing to download\n")
    lines: list[str] = []
    threads = [
        threading.Thread(target=ensure_triton_environment, args=(environment, lines.append, requirements))
        for _ in range(2)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len([line for line in lines if "installed in" in line]) == 1
    assert is_current(environment, requirements)
