"""The file that `polyvox calibrate` writes: how to batch for one model on one server, and what that was measured on.

Start-up reads it and measures nothing. A setting of the environment wins over it, and it wins over the defaults.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Literal

import msgspec

from worker.errors import ConfigInvalid
from worker.settings import Settings

NAMES = ("batch_posts", "batch_tokens", "batches_in_flight")
"""The settings that the file gives, by their names in `Settings`."""

Engine = Literal["triton", "embedded"]
Count = Annotated[int, msgspec.Meta(ge=1)]
Tokens = Annotated[int, msgspec.Meta(ge=16)]


class Figures(msgspec.Struct, frozen=True, kw_only=True):
    """What was measured of one way to batch, in all its runs.

    `p95_ms` is the time within which 95 % of its batches were answered; `padded_per_real` is tokens sent, padding
    included, for each real one.
    """

    batch_posts: Count
    batch_tokens: Tokens
    batches_in_flight: Count
    runs: Count
    min_posts_per_s: float
    median_posts_per_s: float
    max_posts_per_s: float
    p95_ms: float
    padded_per_real: float


class Measured(msgspec.Struct, frozen=True, kw_only=True):
    """What the figures belong to. `processor` is that of the machine that asked; `at` is RFC 3339."""

    model: str
    model_version: str
    inference: Engine
    server: str
    processor: str
    at: str
    texts: str
    latency_ms: float
    figures: tuple[Figures, ...]


class BatchingFile(msgspec.Struct, frozen=True, kw_only=True):
    """The content of the file."""

    format: Literal[1] = 1
    batch_posts: Count
    batch_tokens: Tokens
    batches_in_flight: Count
    measured: Measured


def engine_of(settings: Settings) -> Engine:
    """What runs a worker's model; `auto` is Triton."""
    return "embedded" if settings.inference == "embedded" else "triton"


def read(path: Path) -> BatchingFile:
    """Read a file that `polyvox calibrate` wrote.

    Raises:
        ConfigInvalid: it cannot be read, or is no such file.
    """
    try:
        return msgspec.json.decode(path.read_bytes(), type=BatchingFile)
    except OSError as error:
        problem = f"cannot be read ({error.strerror})"
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        problem = f"is not what `polyvox calibrate` writes ({error})"
    raise ConfigInvalid(f"{path} {problem}: run `polyvox calibrate --out {path}`, or unset POLYVOX_BATCHING_FILE")


def write(path: Path, content: BatchingFile) -> None:
    """Replace the file as a whole.

    Raises:
        ConfigInvalid: it cannot be written.
    """
    text = msgspec.json.format(msgspec.json.encode(content), indent=2)
    partial = path.with_name(f"{path.name}.partial")
    try:
        partial.write_bytes(text + b"\n")
        partial.replace(path)
    except OSError as error:
        raise ConfigInvalid(f"{path} cannot be written ({error.strerror}): name another with --out") from None


def named(settings: Settings) -> BatchingFile | None:
    """The file that the settings name; None when they name none.

    Raises:
        ConfigInvalid: as `read`.
    """
    return None if settings.batching_file is None else read(settings.batching_file)


def foreign(content: BatchingFile, settings: Settings, model_version: str) -> str | None:
    """Why the file says nothing of this worker: another model or another engine was measured. None when it does."""
    measured = content.measured
    if measured.model_version != model_version:
        return f"it was measured on model {measured.model_version}, this worker runs {model_version}"
    if measured.inference != engine_of(settings):
        return f"it was measured on {measured.inference}, this worker runs its model on {engine_of(settings)}"
    return None


def taken(content: BatchingFile, settings: Settings) -> Mapping[str, int]:
    """The settings that come from the file: those that were not given explicitly."""
    return {name: getattr(content, name) for name in NAMES if name not in settings.model_fields_set}
