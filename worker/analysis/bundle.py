"""The model bundle on disk: what the deployed model is called, expects and answers, and its tokenizer."""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Literal

import msgspec
from tokenizers import Tokenizer

from worker.analysis import calibration
from worker.analysis.calibration import UNCALIBRATED, Calibration
from worker.errors import ModelInvalid
from worker.events import ModelRef

SENTIMENT_LABELS = ("negative", "neutral", "positive")
TAG_LABELS = ("O", "B-PER", "I-PER", "B-ORG", "I-ORG", "B-LOC", "I-LOC")
MANIFEST_FILE = "bundle.json"
MODEL_FILE = "model.onnx"
TOKENIZER_FILE = "tokenizer.json"
SHORTEST_WINDOW = 16

# Batches are tokenized in one worker thread beside the event loop; the library's own thread pool (one thread a core,
# for batches of 32 short texts) would only take cores from the loop. It offers no other switch than its environment.
os.putenv("TOKENIZERS_PARALLELISM", "false")


Licence = Literal["any", "commercial"]
"""What a model learned from: any source, or only sources whose stated licence allows commercial use."""


class TopicLabel(msgspec.Struct, frozen=True):
    """One topic: an IPTC Media Topic id, its English name and, for a split topic, the id above it."""

    id: str
    name: str
    parent: str | None = None


class Manifest(msgspec.Struct, frozen=True):
    """The content of `bundle.json`."""

    name: str
    version: str
    base: str
    max_tokens: int
    window_tokens: int
    pad_id: int
    sentiment: tuple[str, ...]
    tags: tuple[str, ...]
    topics: tuple[TopicLabel, ...]
    languages: tuple[str, ...]
    sha256: dict[str, str]
    licence: Licence = "any"


@dataclass(frozen=True)
class Bundle:
    """A checked bundle; `model.version` is `<name>:<version>+<first 8 hex digits of the file's SHA-256>`.

    `prefix_ids` and `suffix_ids` are the special tokens that the tokenizer puts around a text; `window_tokens` counts
    them too. `tokenizer` neither truncates nor pads.
    """

    directory: Path
    model: ModelRef
    manifest: Manifest
    tokenizer: Tokenizer
    prefix_ids: tuple[int, ...]
    suffix_ids: tuple[int, ...]
    calibration: Calibration = UNCALIBRATED

    @classmethod
    def load(cls, directory: Path) -> Bundle:
        """Read and check `directory`; blocks for about 0.2 s for a model of 40 MB.

        Raises:
            ModelInvalid: a file is missing, changed or malformed, or the labels are not those of this version.
        """
        manifest = _read_manifest(directory)
        for name in {MODEL_FILE, TOKENIZER_FILE, *manifest.sha256}:
            _check_sha256(directory / name, manifest.sha256.get(name, ""))
        tokenizer = _read_tokenizer(directory / TOKENIZER_FILE)
        _check_manifest(directory, manifest, tokenizer)
        prefix_ids, suffix_ids = _special_ids(directory, tokenizer)
        version = f"{manifest.name}:{manifest.version}+{manifest.sha256[MODEL_FILE][:8]}"
        model, calibration = ModelRef(manifest.name, version), _read_calibration(directory, manifest)
        return cls(directory, model, manifest, tokenizer, prefix_ids, suffix_ids, calibration)

    @property
    def model_file(self) -> Path:
        """The ONNX file."""
        return self.directory / MODEL_FILE

    @property
    def topics(self) -> tuple[TopicLabel, ...]:
        """The K topics, in the order of the model's topic logits."""
        return self.manifest.topics

    @cached_property
    def topic_ids(self) -> tuple[str, ...]:
        """The ids of `topics`."""
        return tuple(topic.id for topic in self.manifest.topics)

    @property
    def tags(self) -> tuple[str, ...]:
        """The 7 IOB2 tags, in the order of the model's tag logits."""
        return self.manifest.tags

    @property
    def window_tokens(self) -> int:
        """The longest window the model was trained on, special tokens included."""
        return self.manifest.window_tokens

    @property
    def pad_id(self) -> int:
        """What fills a row behind its last token."""
        return self.manifest.pad_id


def _invalid(path: Path, problem: str) -> ModelInvalid:
    """An error that says what is wrong, where, and what to do."""
    return ModelInvalid(f"{path}: {problem}; copy the whole bundle again, or export it anew")


def _read_manifest(directory: Path) -> Manifest:
    path = directory / MANIFEST_FILE
    try:
        return msgspec.json.decode(path.read_bytes(), type=Manifest)
    except OSError as error:
        raise _invalid(path, f"cannot be read ({error.strerror})") from None
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise _invalid(path, f"is not a bundle description ({error})") from None


def _read_calibration(directory: Path, manifest: Manifest) -> Calibration:
    """The calibration that the manifest lists; none changes nothing."""
    if calibration.FILE not in manifest.sha256:
        return UNCALIBRATED
    path = directory / calibration.FILE
    try:
        return msgspec.json.decode(path.read_bytes(), type=Calibration)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise _invalid(path, f"is not a calibration ({error})") from None


def _check_sha256(path: Path, expected: str) -> None:
    try:
        with path.open("rb") as file:
            found = hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise _invalid(path, f"cannot be read ({error.strerror})") from None
    if found != expected:
        raise _invalid(path, f"has SHA-256 {found[:12]}…, but {MANIFEST_FILE} says {expected[:12] or 'nothing'}…")


def _read_tokenizer(path: Path) -> Tokenizer:
    try:
        tokenizer = Tokenizer.from_file(str(path))
    except Exception as error:  # noqa: BLE001 - the library raises bare Exception
        raise _invalid(path, f"is not a tokenizer ({error})") from None
    tokenizer.no_truncation()
    tokenizer.no_padding()
    return tokenizer


def _check_manifest(directory: Path, manifest: Manifest, tokenizer: Tokenizer) -> None:
    """Compare the labels and sizes with what this version of polyvox reads."""
    topic_ids = {topic.id for topic in manifest.topics}
    problems = {
        f"sentiment labels are not {SENTIMENT_LABELS}": manifest.sentiment != SENTIMENT_LABELS,
        f"tags are not {TAG_LABELS}": manifest.tags != TAG_LABELS,
        "there are no topics, or two have one id": not 0 < len(manifest.topics) == len(topic_ids),
        f"window_tokens is not between {SHORTEST_WINDOW} and max_tokens": not (
            SHORTEST_WINDOW <= manifest.window_tokens <= manifest.max_tokens
        ),
        "pad_id is not in the tokenizer's vocabulary": tokenizer.id_to_token(manifest.pad_id) is None,
    }
    for problem, found in problems.items():
        if found:
            raise _invalid(directory / MANIFEST_FILE, problem)


def _special_ids(directory: Path, tokenizer: Tokenizer) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """The ids that the tokenizer puts before and behind a text."""
    whole, bare = tokenizer.encode("a").ids, tokenizer.encode("a", add_special_tokens=False).ids
    for at in range(len(whole) - len(bare) + 1):
        if bare and whole[at : at + len(bare)] == bare:
            return tuple(whole[:at]), tuple(whole[at + len(bare) :])
    raise _invalid(directory / TOKENIZER_FILE, "does not put its special tokens around a text")
