"""The records that the demo replays: files of posts, and a file of what cannot be analysed."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Literal

from worker.errors import ConfigInvalid

POSTS = "posts.*.jsonl"
POISON = "poison.jsonl"


@dataclass(frozen=True)
class Sample:
    """A file, the topic it goes to, and whether its lines are posts or sent as they are."""

    path: Path
    topic: str
    check: Literal["posts", "raw"] = "posts"


def find_samples(directory: Path) -> list[Sample]:
    """The files of a directory: `<topic>.jsonl` for each topic `posts.*`, with `poison.jsonl` in their midst.

    Raises:
        ConfigInvalid: there are no posts.
    """
    posts = [Sample(path, path.stem) for path in sorted(directory.glob(POSTS), reverse=True)]
    if not posts:
        raise ConfigInvalid(
            f"no samples in {directory}: expected {POSTS} there; run the demo from a checkout of polyvox"
        )
    poison = directory / POISON
    return [posts[0], *([Sample(poison, posts[0].topic, "raw")] if poison.is_file() else []), *posts[1:]]


def age_of(samples: list[Sample], now: datetime) -> timedelta:
    """How long ago the newest post of all was published, to the second."""
    newest = max(
        datetime.fromisoformat(json.loads(line)["published_at"])
        for sample in samples
        if sample.check == "posts"
        for line in sample.path.read_bytes().splitlines()
    )
    return timedelta(seconds=int((now - newest.astimezone(UTC)).total_seconds()))
