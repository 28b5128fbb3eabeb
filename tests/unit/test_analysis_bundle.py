"""What `Bundle.load` promises: a bundle that is not exactly what it says is refused, with the place and a remedy."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from worker.analysis.bundle import Bundle
from worker.errors import ModelInvalid

TINY = Path(__file__).parent.parent / "fixtures" / "tiny_models" / "analyzer" / "1"


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    """A bundle to damage."""
    return Path(shutil.copytree(TINY, tmp_path / "1"))


def change_manifest(directory: Path, **changes: object) -> None:
    path = directory / "bundle.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def test_version_names_the_file():
    """The version ends in the first eight digits of the model file's checksum."""
    bundle = Bundle.load(TINY)
    digest = json.loads((TINY / "bundle.json").read_text())["sha256"]["model.onnx"]
    assert bundle.model.version == f"analyzer:0.0.1+{digest[:8]}"
    assert (bundle.prefix_ids, bundle.suffix_ids, bundle.pad_id) == ((0,), (2,), 1)
    assert bundle.topic_ids[0] == "medtop:04000000"


@pytest.mark.parametrize("name", ["model.onnx", "tokenizer.json"])
def test_changed_file_is_refused(directory: Path, name: str):
    """One changed byte in either file is found, named, and answered with what to do."""
    content = (directory / name).read_bytes()
    (directory / name).write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    with pytest.raises(ModelInvalid, match=rf"{name}: has SHA-256 .* copy the whole bundle again"):
        Bundle.load(directory)


@pytest.mark.parametrize("name", ["bundle.json", "model.onnx", "tokenizer.json"])
def test_missing_file_is_refused(directory: Path, name: str):
    """A missing file is named."""
    (directory / name).unlink()
    with pytest.raises(ModelInvalid, match=rf"{name}: cannot be read"):
        Bundle.load(directory)


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"sentiment": ["positive", "neutral", "negative"]}, "sentiment labels"),
        ({"tags": ["O", "B-PER", "I-PER"]}, "tags are not"),
        ({"topics": []}, "no topics"),
        ({"topics": [{"id": "a", "name": "x"}, {"id": "a", "name": "y"}]}, "two have one id"),
        ({"window_tokens": 65}, "window_tokens"),
        ({"window_tokens": 3}, "window_tokens"),
        ({"pad_id": 10_000}, "pad_id"),
        ({"pad_id": "1"}, "not a bundle description"),
        ({"sha256": {}}, "has SHA-256"),
    ],
)
def test_contradicting_manifest_is_refused(directory: Path, changes: dict[str, object], problem: str):
    """Labels in another order would make wrong labels without any error: they are refused when the bundle is read."""
    change_manifest(directory, **changes)
    with pytest.raises(ModelInvalid, match=problem):
        Bundle.load(directory)


def test_broken_tokenizer_is_refused(directory: Path):
    """A tokenizer file that its library cannot read is a ModelInvalid, not the library's bare Exception."""
    (directory / "tokenizer.json").write_text("{}")
    change_manifest(
        directory,
        sha256={
            **json.loads((directory / "bundle.json").read_text())["sha256"],
            "tokenizer.json": "44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a",
        },
    )
    with pytest.raises(ModelInvalid, match="is not a tokenizer"):
        Bundle.load(directory)
