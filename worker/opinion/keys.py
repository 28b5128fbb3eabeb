"""Where everything is in Redis; `docs/redis-layout.md` describes it for people. Shared with `apply.lua`."""

from __future__ import annotations

from worker.opinion.cells import LABELS, Bucket, Cell, Level, Measures, Sample

LAYOUT_VERSION = 3
LAYOUT = "polyvox:layout"
SHARDS = "polyvox:shards"
STORIES = "polyvox:{stories}"
AUTHOR_KEY = "polyvox:author-key"
ANSWERS_KEY = "polyvox:answers-key"
TOPICS = "polyvox:topics"

GUARD_CHUNK = 4096
STORY_SUBSET_BITS = 16
"""The fingerprints of a generation of stories lie in 65,536 hashes: up to 512 entries each take 12 bytes an entry."""

_SEPARATOR = "\x1f"
_COPY = "copy"
LEVEL_CODES: dict[Level, str] = {"minute": "m", "five_minutes": "f", "hour": "h", "day": "d"}
_LEVELS = {code: level for level, code in LEVEL_CODES.items()}


def prefix(shard: str) -> str:
    """What every key of a source partition begins with; the braces make Redis Cluster keep them together."""
    return f"polyvox:{{{shard}}}"


def generation(shard: str) -> str:
    """Which replay put its buckets in the place of the partition's own last."""
    return f"{prefix(shard)}:generation"


def replay(shard: str) -> str:
    """Which replay may do so next."""
    return f"{prefix(shard)}:replay"


def staged(shard: str, replay_id: str) -> str:
    """What every key begins with that a replay stages, as `prefix` for those that queries read."""
    return f"{replay(shard)}:{replay_id}"


STAGED = "polyvox:{*}:replay:"
"""How the keys of every replay begin, as a pattern for SCAN."""


def bucket_suffix(bucket: Bucket) -> str:
    """A bucket in a key: `m:1700000040`."""
    return f"{LEVEL_CODES[bucket.level]}:{bucket.start_s}"


def parse_bucket_suffix(suffix: str) -> Bucket:
    """The bucket of the end of a key."""
    code, _, start_s = suffix.partition(":")
    return Bucket(_LEVELS[code], int(start_s))


def strikes(event_id: str) -> str:
    """The failures of one record alone."""
    return f"polyvox:strikes:{event_id}"


def answer(digest: str) -> str:
    """The model's answer to one window."""
    return f"polyvox:answer:{digest}"


def position_field(topic: str, partition: int) -> str:
    """A consumed partition in the hash of positions; topic names cannot hold a colon."""
    return f"{topic}:{partition}"


def parse_position_field(field: str) -> tuple[str, int]:
    """The consumed topic and partition."""
    topic, _, partition = field.rpartition(":")
    return topic, int(partition)


def cell_name(cell: Cell) -> str:
    """A cell in the hash that numbers them."""
    return _SEPARATOR.join((*cell[:4], _COPY if cell.copy else ""))


def parse_cell_name(name: str) -> Cell:
    """The cell of a name."""
    source_class, language, topic, model_version, copy = name.split(_SEPARATOR)
    return Cell(source_class, language, topic, model_version, copy == _COPY)


def author_of_form(author: str, form: str) -> str:
    """One author's mentions of one form, among those of a bucket."""
    return f"{author}{_SEPARATOR}{form}"


def parse_author_of_form(name: str) -> tuple[str, str]:
    """The author and the form."""
    author, _, form = name.partition(_SEPARATOR)
    return author, form


def parse_samples(value: str) -> list[Sample]:
    """The posts of one sample, lowest priority first: `<priority>:<offset>:<1-4>` each."""
    parts = (part.split(":") for part in value.split(" "))
    return [Sample(int(priority), int(offset), LABELS[int(label) - 1]) for priority, offset, label in parts]


def parse_measures(value: str) -> Measures:
    """The measures of one field; scores that are 0 are left out."""
    return Measures(*map(int, value.split(" ")))
