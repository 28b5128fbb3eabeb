"""Triton's configuration files: valid, alike, and about the bundle that lies beside them."""

import hashlib
import json
from pathlib import Path

import pytest
from google.protobuf import text_format
from tritonclient.grpc.model_config_pb2 import DataType, ModelConfig, ModelInstanceGroup

from worker.analysis.bundle import MODEL_FILE, Bundle
from worker.analysis.inference import OUTPUTS, SENTIMENTS, TAGS
from worker.analysis.triton import VERSION_PARAMETER
from worker.settings import Settings

MODELS = Path(__file__).parents[2] / "triton_models"
ANALYZER = (MODELS / "analyzer" / "config.pbtxt", MODELS / "analyzer" / "configs" / "onnxruntime.pbtxt")
ALL = (*ANALYZER, MODELS / "analyze_text" / "config.pbtxt")


def read(path: Path) -> ModelConfig:
    """Parse by Triton's own schema: an unknown field or a wrong type is an error."""
    return text_format.Parse(path.read_text(), ModelConfig())


def tensors(config: ModelConfig) -> dict[str, tuple[str, list[int]]]:
    return {each.name: (DataType.Name(each.data_type), list(each.dims)) for each in (*config.input, *config.output)}


@pytest.mark.parametrize("path", ALL, ids=lambda path: f"{path.parent.name}/{path.name}")
def test_every_configuration_is_valid_and_named_after_its_folder(path: Path) -> None:
    """Triton refuses a model whose configuration does not parse or bears another name."""
    model = path.parent if path.parent.parent == MODELS else path.parent.parent
    config = read(path)
    assert config.name == model.name
    assert config.HasField("dynamic_batching")
    for group in config.instance_group:
        assert group.kind == ModelInstanceGroup.KIND_CPU
    code = model / "1" / ("model.py" if config.backend == "python" else config.default_model_filename)
    assert code.is_file()


def test_both_backends_offer_the_same_interface() -> None:
    """Whoever speaks to the analyzer need not know which backend runs it: the one setting changes nothing else."""
    python, onnxruntime = map(read, ANALYZER)
    assert (python.backend, onnxruntime.backend) == ("python", "onnxruntime")
    for config in (python, onnxruntime):
        config.ClearField("backend")
        config.ClearField("default_model_filename")
    assert python == onnxruntime


def test_the_interface_is_what_the_worker_expects_of_the_shipped_bundle() -> None:
    """Names, types, number of topics and the bundle's version: the worker compares them before it starts."""
    bundle = Bundle.load(MODELS / "analyzer" / "1")
    for config in map(read, ANALYZER):
        assert tensors(config) == {
            "input_ids": ("TYPE_INT64", [-1]),
            "attention_mask": ("TYPE_INT64", [-1]),
            "sentiment_logits": ("TYPE_FP32", [SENTIMENTS]),
            "topic_logits": ("TYPE_FP32", [len(bundle.topics)]),
            "tag_logits": ("TYPE_FP32", [-1, TAGS]),
            "token_sentiment_logits": ("TYPE_FP32", [-1, SENTIMENTS]),
        }
        assert [each.name for each in config.output] == list(OUTPUTS)
        assert config.parameters[VERSION_PARAMETER].string_value == bundle.model.version
        assert config.max_batch_size >= Settings().batch_posts


def test_analyze_text_has_the_defaults_of_the_worker() -> None:
    """A text gets the same answer from curl as from the worker, so window and batch limits must be the same."""
    config = read(MODELS / "analyze_text" / "config.pbtxt")
    defaults = Settings.model_fields
    assert {key: float(value.string_value) for key, value in config.parameters.items()} == {
        key: float(defaults[key].default) for key in ("max_windows", "batch_tokens", "batch_posts", "abstain_below")
    }
    assert [each.name for each in config.input if each.optional] == ["LANGUAGE"]


def test_the_bundle_describes_its_files() -> None:
    """What lies in the repository is what was exported: a file that was swapped or cut is noticed."""
    folder = MODELS / "analyzer" / "1"
    described = json.loads((folder / "bundle.json").read_text())["sha256"]
    assert set(described) == {MODEL_FILE, "tokenizer.json", "calibration.json"}
    for name, digest in described.items():
        assert hashlib.sha256((folder / name).read_bytes()).hexdigest() == digest
