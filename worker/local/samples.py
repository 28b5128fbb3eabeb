"""The records that the demo replays: files of posts, and a file of what cannot be analysed."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Literal

from worker.errors import ConfigInvalid
from worker.feeds.records import PostRow, Row

POSTS = "posts.*.jsonl"
POISON = "poison.jsonl"


@dataclass(frozen=True)
class Sample:
    """A file, the topic it goes to, and whether its lines are posts or sent as they are."""

    path: Path
    topic: str
    check: Literal["posts", "raw"] = "posts"

    def count(self) -> int:
        """Its records: lines that are not blank."""
        return sum(1 for line in self.path.read_bytes().split(b"\n") if line.strip())


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


def moved(rows: Iterator[Row], by: timedelta) -> Iterator[Row]:
    """The same posts, published so much later: the demo shows the present, whenever the samples were made."""
    for row in rows:
        if isinstance(row, PostRow) and row.value is not None:
            post = json.loads(row.value)
            post["published_at"] = (datetime.fromisoformat(post["published_at"]) + by).isoformat()
            yield replace(row, value=json.dumps(post, ensure_ascii=False).encode())
        else:
            yield row
