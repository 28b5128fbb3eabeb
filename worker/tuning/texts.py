"""The posts that a server is measured with."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from itertools import chain, islice
from pathlib import Path

from worker.errors import ConfigInvalid
from worker.events import decode_post
from worker.feeds.records import PostRow, open_feed
from worker.settings import REPOSITORY

SAMPLES = REPOSITORY / "samples"
MOST_POSTS = 10_000
"""Of a file; more say no more about lengths."""

Text = tuple[str, str | None]
"""A text and the publisher's language tag."""


def texts_of(path: str | None, samples: Path = SAMPLES) -> list[Text]:
    """The texts of a file's posts, rows that are none left out; without a file, those of the directory `samples`.

    In random order, the same each time: files are often sorted, and a run may send the first of them only.

    Raises:
        ConfigInvalid: there is no post, or the file cannot be opened or is of no known format.
    """
    found = list(islice(chain.from_iterable(_posts(each) for each in _files(path, samples)), MOST_POSTS))
    if not found:
        raise ConfigInvalid(f"{path or samples} holds no post: name a file that `polyvox produce` takes")
    random.Random(0).shuffle(found)  # noqa: S311 - no secret
    return found


def _files(path: str | None, samples: Path) -> Sequence[str]:
    if path is not None:
        return [path]
    found = sorted(map(str, samples.glob("posts.*.jsonl")))
    if not found:
        raise ConfigInvalid(f"no posts.*.jsonl in {samples}: name a file of your own posts with --texts")
    return found


def _posts(path: str) -> Iterator[Text]:
    with open_feed(path) as feed:
        for row in feed.rows:
            if isinstance(row, PostRow) and row.value is not None:
                post = decode_post(row.value)
                yield post.text, post.language
