"""The export: the network it was made from, in a bundle that the worker takes."""

import hashlib
import shutil
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")
onnx = pytest.importorskip("onnx")

from safetensors.torch import load_file, save_file  # noqa: E402 - after the skip
from tokenizers import Tokenizer, models, pre_tokenizers, processors  # noqa: E402

from tests.small_network import (  # noqa: E402
    HEADS,
    LAYERS,
    PAD,
    POSITIONS,
    TOPICS,
    VOCABULARY,
    WIDTH,
    collate,
    probabilities,
    random_weights,
    session,
)
from worker.analysis.bundle import Bundle  # noqa: E402
from worker.analysis.calibration import OTHERS, Calibration  # noqa: E402
from worker.errors import ModelInvalid  # noqa: E402
from worker.model import checkpoint  # noqa: E402
from worker.model.calibrate import save  # noqa: E402
from worker.model.export import export, to_onnx  # noqa: E402
from worker.model.network import MultiTaskBert  # noqa: E402
from worker.model.served import load_served  # noqa: E402

CONFIG = Path(__file__).parents[2] / "triton_models" / "analyzer" / "config.pbtxt"


@pytest.fixture(params=[0, 32], ids=["narrow", "wide"])
def network(request: pytest.FixtureRequest) -> Any:
    """The small network in torch, without and with a wide part."""
    config = transformers.BertConfig(
        vocab_size=VOCABULARY,
        hidden_size=WIDTH,
        num_hidden_layers=LAYERS,
        num_attention_heads=HEADS,
        intermediate_size=4 * WIDTH,
        max_position_embeddings=POSITIONS,
        pad_token_id=PAD,
        wide_rows=request.param,
    )
    network = MultiTaskBert(config, TOPICS)
    network.load_state_dict({name: torch.from_numpy(value) for name, value in random_weights(request.param).items()})
    return network.eval()


@pytest.mark.parametrize(
    ("precision", "tolerance"),
    [("float32", 0.002), ("float16", 0.01), ("int8", 0.05)],
)
def test_the_exported_graph_is_the_network(
    precision: Literal["int8", "float16", "float32"], tolerance: float, network: Any
) -> None:
    """All three outputs have torch's values: to GELU's approximation in float32, to rounding in the others."""
    random = np.random.default_rng(3)
    rows = [random.integers(0, VOCABULARY, length).tolist() for length in (2, 40, 17, 5, 33, 40)]
    batch = collate(rows, 40)
    with torch.inference_mode():
        outputs = network(*(torch.from_numpy(batch[name]) for name in ("input_ids", "attention_mask")))
    real = batch["attention_mask"] == 1
    for found, output in zip(session(to_onnx(network, precision))(rows, 40), outputs, strict=True):
        expected = output.numpy()
        assert found.shape == expected.shape
        change = np.abs(probabilities(found) - probabilities(expected))
        assert (change[real] if change.ndim == 3 else change).max() < tolerance


@pytest.fixture
def checkpoint_folder(network: Any, tmp_path: Path) -> Path:
    pieces = ["<s>", "<pad>", "</s>", "<unk>", *(f"word{number}" for number in range(VOCABULARY - 4))]
    tokenizer = Tokenizer(models.WordLevel({piece: at for at, piece in enumerate(pieces)}, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>", special_tokens=[("<s>", 0), ("</s>", 2)]
    )
    tokenizer.enable_truncation(8)
    topics = tuple({"id": f"medtop:{number}", "name": f"topic {number}", "parent": None} for number in range(TOPICS))
    folder = tmp_path / "checkpoint"
    checkpoint.save(folder, network, tokenizer, checkpoint.Labels(topics, "made for a test", 48, ("en", "de")))
    return folder


def test_export_makes_a_bundle_that_the_worker_takes(checkpoint_folder: Path, tmp_path: Path) -> None:
    """The bundle passes the worker's own check, keeps what lay in the folder, and the configurations name it."""
    out = tmp_path / "analyzer" / "1"
    out.mkdir(parents=True)
    (out / "model.py").write_text("# stays")
    (out / "model.onnx").write_text("goes")
    (out.parent / "config.pbtxt").write_text(CONFIG.read_text())
    exported = export(checkpoint_folder, out, "1.2.3")
    bundle = Bundle.load(out)
    digest = hashlib.sha256((out / "model.onnx").read_bytes()).hexdigest()
    assert bundle.model.version == exported.version == f"analyzer:1.2.3+{digest[:8]}"
    assert (out / "model.py").read_text() == "# stays"
    assert bundle.pad_id == PAD
    assert bundle.window_tokens == 48
    assert len(bundle.tokenizer.encode("word1 " * 20).ids) == 22
    config = (out.parent / "config.pbtxt").read_text()
    assert f'"{exported.version}"' in config
    assert f"dims: [ {TOPICS} ]" in config
    assert sorted(path.name for path in out.parent.iterdir()) == ["1", "config.pbtxt"]


def test_a_checkpoint_with_another_activation_is_refused(network: Any) -> None:
    """The graph is written for GELU; another function must not become GELU silently."""
    network.config.hidden_act = "relu"
    with pytest.raises(ModelInvalid, match="relu"):
        to_onnx(network, "int8")


def test_weights_that_are_not_numbers_are_never_exported(checkpoint_folder: Path, tmp_path: Path) -> None:
    """A network that answers NaN fails the comparison, and nothing is written."""
    state = load_file(str(checkpoint_folder / "weights.safetensors"))
    state["sentiment.bias"][0] = float("nan")
    save_file(state, str(checkpoint_folder / "weights.safetensors"))
    with pytest.raises(ModelInvalid, match="nothing was written"):
        export(checkpoint_folder, tmp_path / "analyzer" / "1", "1.0.0")
    assert not (tmp_path / "analyzer").exists()


def test_training_can_go_on_from_a_served_bundle(checkpoint_folder: Path, tmp_path: Path) -> None:
    """The network read back from an int8 bundle has its labels, its tokenizer, and exports to the same weights."""
    out = tmp_path / "model" / "1"
    shutil.copytree(CONFIG.parent, out.parent, ignore=shutil.ignore_patterns("1"))
    export(checkpoint_folder, out, "1.0.0")
    network, tokenizer, labels = load_served(out)
    _, _, expected = checkpoint.load(checkpoint_folder)
    assert labels == expected
    assert tokenizer.get_vocab_size() == VOCABULARY
    again = onnx.load_from_string(to_onnx(network, "int8")).graph.initializer
    before = onnx.load(str(out / "model.onnx")).graph.initializer
    for one, other in zip(before, again, strict=True):
        np.testing.assert_allclose(*(onnx.numpy_helper.to_array(each) for each in (one, other)), rtol=1e-5, atol=1e-6)


def test_a_bundle_is_exported_for_an_accelerator(checkpoint_folder: Path, tmp_path: Path) -> None:
    """From the file that ships alone: float16 answers as the int8 file's weights do, and is as certain of it."""
    shipped, out = tmp_path / "model" / "1", tmp_path / "gpu" / "1"
    export(checkpoint_folder, shipped, "1.0.0")
    save(shipped, Calibration(sentiment={OTHERS: 1.5}))
    made = export(shipped, out, "1.0.0", "float16")
    assert made.parity.typical_change < 0.002
    bundle = Bundle.load(out)
    assert bundle.calibration.temperature("sentiment", "de") == 1.5
    assert bundle.manifest.topics == Bundle.load(shipped).manifest.topics
    constants = onnx.load(str(out / "model.onnx")).graph.initializer
    table = (32, TOPICS)  # the wide part's, which is of whole numbers in every precision
    weights = {each.data_type for each in constants if each.dims[1:] and tuple(each.dims) != table}
    assert weights == {onnx.TensorProto.FLOAT16, onnx.TensorProto.FLOAT}


def test_a_folder_without_a_bundle_cannot_be_gone_on_from(tmp_path: Path) -> None:
    """The error names the folder."""
    with pytest.raises(checkpoint.CheckpointError, match=tmp_path.name):
        load_served(tmp_path)
