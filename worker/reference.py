"""The files that are generated from the code: `python -m worker.reference` writes `schemas/` and `docs/settings.md`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import msgspec
from pydantic import SecretStr

from worker.alert_event import Alert
from worker.events import SCHEMA_VERSION, DeadLetter, EnrichedPost, Post
from worker.settings import REPOSITORY, Settings

EVENTS: dict[str, type[msgspec.Struct]] = {
    "post": Post,
    "enriched": EnrichedPost,
    "dead-letter": DeadLetter,
    "alert": Alert,
}
DIALECT = "https://json-schema.org/draft/2020-12/schema"


def schemas() -> dict[str, dict[str, Any]]:
    """File name to JSON Schema, of the current version of each event."""
    return {
        f"{name}.v{SCHEMA_VERSION}.json": {
            "$schema": DIALECT,
            "title": f"polyvox {name} v{SCHEMA_VERSION}",
            **msgspec.json.schema(event),
        }
        for name, event in EVENTS.items()
    }


def settings_table() -> str:
    """The settings as Markdown: variable, default, meaning."""
    lines = [
        "# Settings",
        "",
        "From the environment, or from files of the same name in the directory that `POLYVOX_SECRETS_DIR` names.",
        "This page is generated from `worker/settings.py` (`make reference`).",
        "",
        "| variable | default | meaning |",
        "|---|---|---|",
    ]
    for name, info in Settings.model_fields.items():
        lines.append(f"| `POLYVOX_{name.upper()}` | {_shown(info.default)} | {info.description} |")
    return "\n".join(lines) + "\n"


def _shown(default: object) -> str:
    if default is None:
        return ""
    if isinstance(default, SecretStr):
        default = default.get_secret_value()
    elif isinstance(default, dict):
        default = ",".join(f"{topic}={source_class}" for topic, source_class in default.items())
    elif isinstance(default, Path):
        default = default.relative_to(REPOSITORY)
    return f"`{default}`"


def files() -> dict[Path, str]:
    """Every generated file with its text."""
    rendered = {
        REPOSITORY / "schemas" / name: json.dumps(schema, indent=2, ensure_ascii=False) + "\n"
        for name, schema in schemas().items()
    }
    return rendered | {REPOSITORY / "docs" / "settings.md": settings_table()}


if __name__ == "__main__":
    for path, text in files().items():
        path.parent.mkdir(exist_ok=True)
        path.write_text(text, encoding="utf-8")
