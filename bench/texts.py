"""The posts of every run: the samples, as often as needed, in one fixed order."""

from __future__ import annotations

import random
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import msgspec

from worker.errors import BadRecord, ConfigInvalid
from worker.events import Post, decode_post, encode

SPAN = timedelta(hours=1)
SOCIAL, FINANCIAL = "social", "financial"


@dataclass(frozen=True, slots=True)
class Input:
    """A post and its source class."""

    source_class: str
    post: Post


def inputs(samples: Path, count: int, now: datetime | None = None) -> list[Input]:
    """`count` posts; those of the second and later rounds through the samples differ from the first by their ids.

    They are shuffled, so that any stretch has the same mix of languages and lengths, and their dates are spread over
    the last hour: older ones would miss the short retentions and make less work.

    Raises:
        ConfigInvalid: there are no samples.
    """
    found = _sample_posts(samples)
    if not found:
        raise ConfigInvalid(f"no posts in {samples}/*.jsonl: run the bench from a checkout of polyvox")
    random.Random(0).shuffle(found)
    first = (now or datetime.now(UTC)) - SPAN
    many = []
    for number in range(count):
        turn, place = divmod(number, len(found))
        one = found[place]
        changes = {"id": f"{one.post.id}-{turn}", "published_at": first + SPAN * number / count}
        many.append(Input(one.source_class, msgspec.structs.replace(one.post, **changes)))
    return many


def record(prefix: str, one: Input) -> tuple[str, bytes, bytes]:
    """Topic, key and value of the record that carries a post; there is a topic for each source class."""
    return f"{prefix}.{one.source_class}", one.post.id.encode(), encode(one.post)


def _sample_posts(samples: Path) -> list[Input]:
    """Every line of the samples that is a post; the poison among them is left out."""
    found = []
    for path in sorted(samples.glob("*.jsonl")):
        source_class = FINANCIAL if "financial" in path.name else SOCIAL
        for line in path.read_bytes().splitlines():
            try:
                found.append(Input(source_class, decode_post(line)))
            except BadRecord:
                continue
    return found
