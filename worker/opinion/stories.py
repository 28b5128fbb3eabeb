"""Which posts tell one story: decided once, in Redis, by one script call for a bundle of posts.

The decision travels inside the event from there on, so a rebuild of the aggregates reads it and does not decide anew.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, NamedTuple, Protocol

from worker.events import encode
from worker.opinion import keys
from worker.opinion.client import Link, Script
from worker.settings import Settings
from worker.timing import Clock, SystemClock

DECIDE = Script((Path(__file__).parent / "stories.lua").read_text(encoding="utf-8"))
GENERATIONS = 2
"""As in `stories.lua`: the present one and the one before, each half a retention long."""

_FIELD_BITS = 32


@dataclass(frozen=True, slots=True)
class Candidate:
    """What is known of a post when its story is decided.

    Args:
        event_id: of the original record, so that a requeued one is the same post.
        post_id: the publisher's, with its source; a second event with it is a copy.
        bands: hashes of the text, up to 63 bits each; none for a text that tells too little.
        needed: how many bands two copies share at least.
    """

    event_id: str
    post_id: str
    bands: tuple[int, ...] = ()
    needed: int = 1


class Decision(NamedTuple):
    """A post's story.

    Args:
        story_id: the event id of the first post of the story.
        kind: `unindexed` is a first post that could not be remembered, since the index is full.
    """

    story_id: str
    kind: Literal["first", "copy", "unindexed"]


class StoryIndex(Protocol):
    """Decides stories; the one writer of each of them."""

    async def decide(self, posts: Sequence[Candidate]) -> list[Decision]:
        """The story of each post, as if they had been asked for one after the other.

        Asking again for a post gives the same answer while it is remembered: a call may be repeated.

        Raises:
            StoreUnavailable: retry the same call with a Backoff.
            ConfigInvalid: waiting does not help.
        """
        ...


class RedisStories:
    """The index in Redis: small hashes of numbers, by generation.

    Args:
        link: the connection; closed by its owner.
        settings: retention, and how much is remembered.
        clock: which generation is the present one.
    """

    def __init__(self, link: Link, settings: Settings, clock: Clock | None = None) -> None:
        self._link = link
        self._clock = clock or SystemClock()
        self._generation_s = settings.story_retention_s // GENERATIONS
        self._entries_limit = settings.story_index_entries

    async def decide(self, posts: Sequence[Candidate]) -> list[Decision]:
        generation = self._clock.unix_ms() // 1000 // self._generation_s
        batch = {
            "generation": generation,
            "expires_at_s": (generation + GENERATIONS) * self._generation_s,
            "entries_limit": self._entries_limit,
            "posts": [_row(post) for post in posts],
        }
        reply = await self._link.run(DECIDE, keys.STORIES, encode(batch), doing="deciding stories")
        return [Decision(*pair) for pair in zip(reply[::2], reply[1::2], strict=True)]


@dataclass
class MemoryStories:
    """The index in memory, with the semantics of the one in Redis; it forgets nothing and is never full."""

    _posts: dict[str, str] = field(default_factory=dict)
    _bands: dict[int, str] = field(default_factory=dict)
    _ages: dict[str, int] = field(default_factory=dict)

    async def decide(self, posts: Sequence[Candidate]) -> list[Decision]:
        return [self._decide(post) for post in posts]

    def _decide(self, post: Candidate) -> Decision:
        known = self._posts.get(post.post_id) or self._by_bands(post)
        story = known or post.event_id
        if known is None:
            self._ages[story] = len(self._ages)
            for band in post.bands:
                self._bands.setdefault(band, story)
        self._posts.setdefault(post.post_id, story)
        return Decision(story, "first" if story == post.event_id else "copy")

    def _by_bands(self, post: Candidate) -> str | None:
        hits = Counter(self._bands[band] for band in post.bands if band in self._bands)
        enough = [(-count, self._ages[story], story) for story, count in hits.items() if count >= post.needed]
        return min(enough)[2] if enough else None


def _row(post: Candidate) -> list[str | int]:
    """A post as `stories.lua` reads it."""
    id_digest = hashlib.blake2b(post.post_id.encode(), digest_size=8).digest()
    places = map(_place, (int.from_bytes(id_digest, "big"), *post.bands))
    return [post.event_id, post.needed, *(number for place in places for number in place)]


def _place(digest: int) -> tuple[int, int]:
    """The subset and the field of a digest; a signed field of 32 bits takes 6 bytes in a small hash."""
    field = (digest >> keys.STORY_SUBSET_BITS) % (1 << _FIELD_BITS) - (1 << _FIELD_BITS - 1)
    return digest % (1 << keys.STORY_SUBSET_BITS), field
