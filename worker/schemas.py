"""The JSON Schemas of the events, generated from `worker.events`: `python -m worker.schemas` writes `schemas/`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import msgspec

from worker.events import SCHEMA_VERSION, DeadLetter, EnrichedPost, Post
from worker.settings import REPOSITORY

EVENTS: dict[str, type[msgspec.Struct]] = {"post": Post, "enriched": EnrichedPost, "dead-letter": DeadLetter}
DIALECT = "https://json-schema.org/draft/2020-12/schema"


def schemas() -> dict[str, dict[str, Any]]:
    """File name to schema, of the current version."""
    return {
        f"{name}.v{SCHEMA_VERSION}.json": {
            "$schema": DIALECT,
            "title": f"polyvox {name} v{SCHEMA_VERSION}",
            **msgspec.json.schema(event),
        }
        for name, event in EVENTS.items()
    }


def render(schema: dict[str, Any]) -> str:
    """The text of a schema file."""
    return json.dumps(schema, indent=2, ensure_ascii=False) + "\n"


def write(folder: Path) -> None:
    """Write every schema into `folder`."""
    for name, schema in schemas().items():
        (folder / name).write_text(render(schema), encoding="utf-8")


if __name__ == "__main__":
    write(REPOSITORY / "schemas")
