"""The labelled samples, and copies of some, as a running worker analyses them: real broker, Redis, Triton and model."""

from __future__ import annotations

import asyncio
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import msgspec

from bench.shifts.world import REPOSITORY
from worker.errors import PolyvoxError
from worker.events import EnrichedPost, Post, decode_post, encode
from worker.feeds.produce import produce
from worker.feeds.recent import recent_posts
from worker.feeds.records import PostRow
from worker.feeds.topics import ensure_topics
from worker.local.demo import demo_variables
from worker.local.opinions import received
from worker.local.stack import StackOptions, running_stack
from worker.local.worker import WorkerProcess, running_worker
from worker.settings import Settings, load_settings

SAMPLES = REPOSITORY / "samples"
ANALYSED_S = 300.0
COPIED, COPIES_EACH = 20, 50
"""1,000 copies in all."""
COPIED_WORDS = 8
"""Of a post that is copied, at least: what shorter texts have in common is chance."""
GOLD = {"negative": -1, "neutral": 0, "positive": 1}


@dataclass(frozen=True)
class Labelled:
    """A post as the worker published it, and what its annotators said: -1, 0 or 1."""

    event: EnrichedPost
    gold: int


@dataclass(frozen=True)
class Analysed:
    """What came out.

    Args:
        settings: of servers that run.
        copies: how many copies were sent, and how many were published as copies of the post that they repeat.
    """

    settings: Settings
    posts: list[Labelled]
    copies: tuple[int, int]


@contextmanager
def analysed() -> Iterator[Analysed]:
    """Start everything, send the posts, then their copies; Redis goes on until the end.

    Raises:
        PolyvoxError: a server or the worker failed, or was not done in time.
    """
    options = StackOptions(model_names=("analyzer",))
    with (
        tempfile.TemporaryDirectory(prefix="polyvox-shifts-", ignore_cleanup_errors=True) as directory,
        running_stack(options, _quiet) as addresses,
    ):
        environment = demo_variables(addresses, options.models_dir)
        settings = load_settings(**{name.removeprefix("POLYVOX_").lower(): each for name, each in environment.items()})
        ensure_topics(settings)
        gold = _labels()
        posts = [(topic, post) for topic, post in _posts() if post.id in gold]
        with running_worker(environment, Path(directory) / "worker.log", _quiet) as worker:
            events = _through(settings, worker, posts, 0)
            originals = _long([events[post.id] for _, post in posts])
            copies = [(topic, copy) for event in originals for topic, copy in _copies(event)]
            repeats = _through(settings, worker, copies, len(posts))
        found = sum(_repeats(repeats[copy.id], events) for _, copy in copies)
        yield Analysed(settings, [Labelled(events[post.id], gold[post.id]) for _, post in posts], (len(copies), found))


def _quiet(_line: str) -> None:
    """The bench has lines of its own."""


def _labels() -> dict[str, int]:
    lines = (SAMPLES / "labels.tsv").read_text(encoding="utf-8").splitlines()
    return {post_id: GOLD[label] for post_id, label in (line.split("\t") for line in lines)}


def _posts() -> Iterator[tuple[str, Post]]:
    for path in sorted(SAMPLES.glob("posts.*.jsonl")):
        for line in path.read_bytes().splitlines():
            yield path.stem, decode_post(line)


def _through(
    settings: Settings, worker: WorkerProcess, posts: Sequence[tuple[str, Post]], before: int
) -> dict[str, EnrichedPost]:
    """Send posts, wait until they are counted too, and read them back; by the post's id."""
    rows = (PostRow(line, post.id.encode(), encode(post), topic) for line, (topic, post) in enumerate(posts, start=1))
    produce(settings, next(iter(settings.input_topics)), rows)
    ends_s = time.monotonic() + ANALYSED_S
    while asyncio.run(received(settings)) < before + len(posts):
        worker.require_running()
        if time.monotonic() > ends_s:
            raise PolyvoxError(f"{len(posts)} posts were not analysed within {ANALYSED_S:.0f} s")
        time.sleep(0.2)  # between two looks
    return {event.post.id: event for event in recent_posts(settings, 1_000_000)}


def _long(events: Sequence[EnrichedPost]) -> list[EnrichedPost]:
    """The posts that are copied: evenly spread over those of some length that repeat nothing themselves."""
    told = [event for event in events if event.story and not event.story.copy]
    fit = [event for event in told if len(event.post.text.split()) >= COPIED_WORDS]
    return fit[:: max(1, len(fit) // COPIED)][:COPIED]


def _copies(event: EnrichedPost) -> Iterator[tuple[str, Post]]:
    """The same text under other ids, in turn as it is, as a retweet, and with a link behind it."""
    text, now = event.post.text, datetime.now(UTC)
    for number in range(COPIES_EACH):
        shown = (text, f"RT @user{number}: {text}", f"{text} https://example.com/{number}")[number % 3]
        yield (
            event.position.topic,
            msgspec.structs.replace(
                event.post, id=f"{event.post.id}-{number}", text=shown, published_at=now, author=f"copier_{number}"
            ),
        )


def _repeats(copy: EnrichedPost, originals: dict[str, EnrichedPost]) -> bool:
    original = originals[copy.post.id.rpartition("-")[0]]
    return copy.story is not None and copy.story.copy and copy.story.id == original.event_id
