"""Puts a bundle on disk, whole or not at all, and tells Triton's configurations of it."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

from worker.errors import ModelInvalid

# What config.pbtxt and configs/*.pbtxt repeat from the bundle.
TOPIC_COUNT = re.compile(r'(name: "topic_logits".*?dims: \[ )\d+( \])')
BUNDLE_VERSION = re.compile(r'(key: "bundle_version" value \{ string_value: ")[^"]*(")')


def replace_folder(folder: Path, files: dict[str, bytes]) -> None:
    """Swap in a folder with `files` and whatever else `folder` held: a reader sees the old or the new one.

    A failure before the swap leaves `folder` as it was; one in the middle of it is mended by the next call.
    """
    fresh, old = folder.with_name(f".{folder.name}.new"), folder.with_name(f".{folder.name}.old")
    if old.exists() and not folder.exists():
        old.rename(folder)
    shutil.rmtree(fresh, ignore_errors=True)
    shutil.rmtree(old, ignore_errors=True)
    if folder.exists():
        shutil.copytree(folder, fresh, ignore=shutil.ignore_patterns(*files, "__pycache__"))
    fresh.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        (fresh / name).write_bytes(content)
    if folder.exists():
        folder.rename(old)
    fresh.rename(folder)
    shutil.rmtree(old, ignore_errors=True)


def changed_configs(model: Path, topics: int, version: str) -> dict[Path, str]:
    """The Triton configurations of a model directory with the number of topics and the bundle's version in them.

    Args:
        version: `<name>:<version>+<first 8 hex digits of the file's SHA-256>`, which the worker compares.

    Returns:
        The new text of each file, to be written; none where `model` has no configuration.

    Raises:
        ModelInvalid: a configuration has no place, or several, for one of the two.
    """
    found = {}
    for path in (model / "config.pbtxt", *sorted(model.glob("configs/*.pbtxt"))):
        if not path.is_file():
            continue
        text = path.read_text()
        for pattern, value in ((TOPIC_COUNT, str(topics)), (BUNDLE_VERSION, version)):
            text, places = pattern.subn(rf"\g<1>{value}\g<2>", text)
            if places != 1:
                raise ModelInvalid(f"{path}: {places} places for {value}, expected 1; restore it from the repository")
        found[path] = text
    return found
