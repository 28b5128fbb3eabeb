"""What the demo sends: all samples in the order of their times, moved to the present, with a shift planted in them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from worker.errors import ConfigInvalid
from worker.feeds.records import BadRow, PostRow, open_feed
from worker.local.samples import Sample

PLANTED = "planted.txt"
"""Beside the samples, if there: ids of posts that are replayed at the end of the time that the samples cover."""

PLANTED_S = 40 * 60


@dataclass
class Timed:
    """A post on its way to a topic."""

    topic: str
    post: dict[str, Any]
    at: datetime


@dataclass(frozen=True)
class Replayed:
    """What is sent.

    Args:
        rows: in the order of sending, each with its topic.
        planted_at: from when on the planted posts are published; None without any.
    """

    rows: list[PostRow]
    planted_at: datetime | None


def plan(samples: Sequence[Sample], age: timedelta) -> Replayed:
    """Read all samples.

    Args:
        samples: as `find_samples` gives them.
        age: how much later everything is published than the samples say.

    Raises:
        ConfigInvalid: a row is no post; names file and line.
    """
    posts = [timed for sample in samples if sample.check == "posts" for timed in _posts_of(sample)]
    raw = [row for sample in samples if sample.check == "raw" for row in _rows_of(sample)]
    since = plant(posts, _planted_ids(samples[0].path.parent))
    rows = [_row(timed, age) for timed in sorted(posts, key=lambda timed: timed.at)]
    middle = len(rows) // 2
    return Replayed([*rows[:middle], *raw, *rows[middle:]], since + age if since else None)


def plant(posts: Sequence[Timed], ids: AbstractSet[str]) -> datetime | None:
    """Let posts with these ids change times with others, so that they stand in the last `PLANTED_S` of all.

    How many posts there are at any time stays as it was, and each topic keeps its own times.

    Returns:
        The beginning of that time; None when there are no such posts.
    """
    chosen = [timed for timed in posts if timed.post["id"] in ids]
    if not chosen:
        return None
    since = max(timed.at for timed in posts) - timedelta(seconds=PLANTED_S)
    early = [timed for timed in chosen if timed.at < since]
    topics = {timed.topic for timed in chosen}
    late = [timed for timed in posts if timed.at >= since and timed.topic in topics and timed.post["id"] not in ids]
    step = max(1, len(late) // max(1, len(early)))
    for one, other in zip(early, late[::step], strict=False):
        if one.topic == other.topic:
            one.at, other.at = other.at, one.at
    return since


def _planted_ids(directory: Path) -> frozenset[str]:
    path = directory / PLANTED
    return frozenset(path.read_text(encoding="utf-8").split()) if path.is_file() else frozenset()


def _rows_of(sample: Sample) -> list[PostRow]:
    with open_feed(str(sample.path), check=sample.check) as feed:
        rows = []
        for row in feed.rows:
            if isinstance(row, BadRow):
                raise ConfigInvalid(f"{sample.path}:{row.line}: {row.reason}: {row.detail}")
            rows.append(replace(row, topic=sample.topic))
        return rows


def _posts_of(sample: Sample) -> list[Timed]:
    found = []
    for row in _rows_of(sample):
        post = json.loads(row.value or b"null")
        found.append(Timed(sample.topic, post, datetime.fromisoformat(post["published_at"])))
    return found


def _row(timed: Timed, age: timedelta) -> PostRow:
    """The post at its new time; distances between times stay."""
    own_zone = datetime.fromisoformat(timed.post["published_at"]).tzinfo
    post = timed.post | {"published_at": (timed.at + age).astimezone(own_zone).isoformat()}
    return PostRow(0, post["id"].encode(), json.dumps(post, ensure_ascii=False).encode(), timed.topic)
