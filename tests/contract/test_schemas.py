"""`schemas/` is what `worker.events` reads and writes, and no change breaks readers of the version in use."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.errors import BadRecord
from worker.events import EnrichedPost, Post, decode_enriched, decode_post, encode
from worker.reference import files, schemas

FIRST = Path(__file__).parent / "schemas_v1"  # as published first; only a new version adds files
EXAMPLES = json.loads((Path(__file__).parent / "events_v1.json").read_text(encoding="utf-8"))


@pytest.mark.parametrize("path", sorted(files()), ids=lambda path: path.name)
def test_files_are_generated(path: Path) -> None:
    """The schemas and the settings page are what `make reference` writes."""
    assert path.read_text(encoding="utf-8") == files()[path]


def breaks(old: dict[str, Any], new: dict[str, Any]) -> Iterator[str]:
    """How a reader of `old` fails on events of `new`, and a writer of `old` on a reader of `new`."""
    for struct, before in old.get("$defs", {}).items():
        after = new["$defs"].get(struct)
        if after is None:
            yield f"{struct} is gone"
            continue
        for field in set(before.get("required", ())) - set(after.get("required", ())):
            yield f"{struct}.{field} is no longer always written"
        for field in set(after.get("required", ())) - set(before.get("required", ())):
            yield f"{struct}.{field} became required"
        for field, kind in before.get("properties", {}).items():
            if after.get("properties", {}).get(field) != kind:
                yield f"{struct}.{field} changed"


@pytest.mark.parametrize("name", sorted(path.name for path in FIRST.glob("*.json")))
def test_no_change_breaks_readers(name: str) -> None:
    """Fields of a published version stay, keep their types, and none becomes required."""
    assert list(breaks(json.loads((FIRST / name).read_text(encoding="utf-8")), schemas()[name])) == []


def test_a_breaking_change_is_noticed() -> None:
    """The check above sees a removed field, a changed type and a new required field."""
    old = schemas()["post.v1.json"]
    new = json.loads(json.dumps(old))
    struct = new["$defs"]["Post"]
    struct["properties"].pop("url")
    struct["properties"]["text"] = {"type": "integer"}
    struct["required"].append("author")
    assert sorted(breaks(old, new)) == ["Post.author became required", "Post.text changed", "Post.url changed"]


@pytest.mark.parametrize("example", EXAMPLES["enriched"])
def test_events_of_version_1_are_still_read(example: dict[str, Any]) -> None:
    """An event written by the first release validates and decodes today."""
    jsonschema.validate(example, schemas()["enriched.v1.json"])
    event = decode_enriched(json.dumps(example).encode())
    assert isinstance(event, EnrichedPost)
    assert decode_enriched(encode(event)) == event


@given(st.from_type(dict[str, int]), st.text(max_size=50), st.text(min_size=1, max_size=20))
def test_what_is_written_is_valid(metadata: dict[str, int], text: str, post_id: str) -> None:
    """Encoded posts satisfy their schema and come back equal."""
    post = msgspec.convert(
        {"id": post_id, "source": "s", "published_at": "2026-01-01T00:00:00Z", "text": text, "metadata": metadata}, Post
    )
    value = encode(post)
    jsonschema.validate(json.loads(value), schemas()["post.v1.json"])
    assert decode_post(value) == post


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (b"not json", "not_json"),
        (b'{"id": "1"', "not_json"),
        (b"", "not_json"),
        (b'{"text": "\xff"}', "bad_utf8"),
        (b'{"id":"1","source":"s","published_at":"2026-01-01T00:00:00Z","text":"\\ud800"}', "lone_surrogate"),
        (b'{"id":"1","source":"s","published_at":"2026-01-01T00:00:00Z"}', "missing_field"),
        (b'{"id":"","source":"s","published_at":"2026-01-01T00:00:00Z","text":""}', "invalid_field"),
        (b'{"id":"1","source":"s","published_at":"2026-01-01T00:00:00","text":""}', "invalid_field"),
        (b"[]", "invalid_field"),
    ],
)
def test_bad_posts_have_a_reason(value: bytes, reason: str) -> None:
    """Each way in which a record is no post has its own bounded reason."""
    with pytest.raises(BadRecord) as caught:
        decode_post(value)
    assert caught.value.reason == reason
