"""The events polyvox reads and writes, and their codecs: the one source of `schemas/`.

Values are JSON (msgspec), one object a record. Where a record came from travels in Kafka headers, so that a dead
letter's value can stay the original bytes and a reader can skip records without decoding them.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Annotated, Any, Literal

import msgspec

from worker.errors import BadRecord

SCHEMA_VERSION = 1

Label = Literal["negative", "neutral", "positive"]
EntityType = Literal["PER", "ORG", "LOC"]
Flag = Literal["published_at_clamped", "language_hint_conflict", "empty_text"]
Headers = Sequence[tuple[str, bytes]]

Probability = Annotated[float, msgspec.Meta(ge=0.0, le=1.0)]
Timestamp = Annotated[datetime, msgspec.Meta(tz=True, description="RFC 3339, with an offset")]


class Post(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One post as its publisher wrote it: the value of a record in an input topic."""

    id: Annotated[str, msgspec.Meta(min_length=1, max_length=512, description="the publisher's; may repeat")]
    source: Annotated[str, msgspec.Meta(min_length=1, max_length=256, description="where it was published")]
    published_at: Timestamp
    text: str
    author: Annotated[str, msgspec.Meta(max_length=512)] | None = None
    language: Annotated[str, msgspec.Meta(max_length=64, description="a BCP 47 hint")] | None = None
    url: Annotated[str, msgspec.Meta(max_length=4096)] | None = None
    metadata: Annotated[dict[str, Any], msgspec.Meta(description="free; carried through")] = {}


class SourcePosition(msgspec.Struct, frozen=True, order=True):
    """Where a record stands in an input topic; `topic_id` tells a recreated topic from the old one."""

    topic: str
    topic_id: str
    partition: int
    offset: int

    @property
    def event_id(self) -> str:
        """The same for every outcome of this record: 128 bits of BLAKE2b over the position, in hex."""
        place = f"{self.topic_id}/{self.partition}/{self.offset}"
        return hashlib.blake2b(place.encode(), digest_size=16).hexdigest()

    @property
    def shard(self) -> str:
        """The source partition, `<topic id>:<partition>`: the Redis hash tag of all it adds to."""
        return f"{self.topic_id}:{self.partition}"


class Probabilities(msgspec.Struct, frozen=True):
    """Softmax over the three sentiment classes; sums to 1."""

    negative: Probability
    neutral: Probability
    positive: Probability


class Sentiment(msgspec.Struct, frozen=True, kw_only=True):
    """The most probable class; `abstained` when the model's confidence is under the threshold."""

    label: Label
    confidence: Probability
    probabilities: Probabilities
    abstained: bool = False


class Topic(msgspec.Struct, frozen=True, kw_only=True):
    """The most probable topic; labels are IPTC Media Topic ids, `economy` whole or split by MultiFin's classes."""

    label: str
    name: str
    confidence: Probability
    probabilities: dict[str, float]


class Entity(msgspec.Struct, frozen=True, kw_only=True):
    """A mention; `start` and `end` are code-point offsets into the original text, `end` exclusive."""

    type: EntityType
    text: str
    start: Annotated[int, msgspec.Meta(ge=0)]
    end: Annotated[int, msgspec.Meta(ge=1)]
    confidence: Probability
    sentiment: Probabilities | None = None


class ModelRef(msgspec.Struct, frozen=True):
    """The model that made the labels; `version` ends in the first 8 hex digits of the file's SHA-256."""

    name: str
    version: str


class Story(msgspec.Struct, frozen=True):
    """The story that a post tells; decided once, when the post was analysed.

    Args:
        id: the event id of the story's first post, which may stand in another partition.
        copy: whether the post repeats it: the same `post.id`, or nearly the same text.
    """

    id: Annotated[str, msgspec.Meta(description="event_id of the story's first post")]
    copy: Annotated[bool, msgspec.Meta(description="it repeats that post: the same id, or nearly the same text")]


class Timings(msgspec.Struct, frozen=True, kw_only=True):
    """Unix milliseconds of the record's stations."""

    broker_ms: int
    received_ms: int
    analysed_ms: int


class Analysis(msgspec.Struct, frozen=True, kw_only=True):
    """What the model and the language identifier say about one text."""

    language: str
    language_confidence: Probability
    sentiment: Sentiment
    topic: Topic
    entities: list[Entity]
    model: ModelRef
    flags: list[Flag] = []


class EnrichedPost(msgspec.Struct, frozen=True, kw_only=True):
    """A post with its analysis: the value of a record in `enriched`."""

    schema_version: Literal[1] = 1
    event_id: str
    position: SourcePosition
    source_class: str
    event_time: Timestamp
    post: Post
    language: str
    language_confidence: Probability
    sentiment: Sentiment
    topic: Topic
    entities: list[Entity]
    model: ModelRef
    flags: list[Flag]
    timings: Timings
    story: Annotated[Story | None, msgspec.Meta(description="null in events of versions without stories")] = None


class DeadLetter(msgspec.Struct, frozen=True, kw_only=True):
    """Why a record could not be analysed: the headers of a record in `dead-letters`, whose value is the original bytes.

    Above the topic's size limit the value is a prefix, `truncated` is true and `sha256` is that of the whole.
    """

    schema_version: Literal[1] = 1
    event_id: str
    position: SourcePosition
    broker_ms: int
    stage: str
    reason: str
    detail: str = ""
    model_version: str = ""
    truncated: bool = False
    size_bytes: int = 0
    sha256: str = ""


_post_decoder = msgspec.json.Decoder(Post)
_enriched_decoder = msgspec.json.Decoder(EnrichedPost)
_encoder = msgspec.json.Encoder()


def decode_post(value: bytes) -> Post:
    """Read the value of an input record.

    Raises:
        BadRecord: `bad_utf8`, `not_json`, `missing_field`, `invalid_field` or `lone_surrogate`, with the place.
    """
    try:
        return _post_decoder.decode(value)
    except msgspec.ValidationError as error:
        reason = "missing_field" if "missing required field" in str(error) else "invalid_field"
        raise BadRecord("validate", reason, str(error)) from None
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise BadRecord("decode", _decode_reason(value), str(error)) from None


def _decode_reason(value: bytes) -> str:
    """Tell apart the ways in which bytes are not JSON text: the standard library alone accepts a lone surrogate."""
    try:
        value.decode()
    except UnicodeDecodeError:
        return "bad_utf8"
    try:
        json.loads(value)
    except ValueError:
        return "not_json"
    return "lone_surrogate"


def encode(event: Post | EnrichedPost | Analysis | dict[str, Any]) -> bytes:
    """The JSON value of an event, or of an object of plain values."""
    return _encoder.encode(event)


def decode_enriched(value: bytes) -> EnrichedPost:
    """Read the value of an `enriched` record.

    Raises:
        msgspec.DecodeError: not an `EnrichedPost` of this or an older schema version.
    """
    return _enriched_decoder.decode(value)


ORIGIN_HEADER = "pv-origin"
"""On a requeued dead letter: the position of the original record."""


def position_headers(position: SourcePosition, broker_ms: int) -> list[tuple[str, bytes]]:
    """The headers that every outcome carries, also a tombstone's."""
    return [
        ("pv-event-id", position.event_id.encode()),
        ("pv-topic", position.topic.encode()),
        ("pv-topic-id", position.topic_id.encode()),
        ("pv-partition", b"%d" % position.partition),
        ("pv-offset", b"%d" % position.offset),
        ("pv-broker-ms", b"%d" % broker_ms),
        ("pv-schema", b"%d" % SCHEMA_VERSION),
    ]


def position_from_headers(headers: Iterable[tuple[str, bytes]]) -> tuple[SourcePosition, int]:
    """The source position and the broker's timestamp in Unix milliseconds.

    Raises:
        KeyError, ValueError: the record was not written by polyvox.
    """
    found = dict(headers)
    position = SourcePosition(
        topic=found["pv-topic"].decode(),
        topic_id=found["pv-topic-id"].decode(),
        partition=int(found["pv-partition"]),
        offset=int(found["pv-offset"]),
    )
    return position, int(found["pv-broker-ms"])


def encode_origin(position: SourcePosition) -> bytes:
    """The value of `ORIGIN_HEADER`."""
    return _encoder.encode(position)


def decode_origin(value: bytes) -> SourcePosition:
    """Read `ORIGIN_HEADER`.

    Raises:
        BadRecord: somebody else wrote the header.
    """
    try:
        return msgspec.json.decode(value, type=SourcePosition)
    except msgspec.DecodeError as error:
        raise BadRecord("validate", "bad_origin", str(error)) from None


def dead_letter_headers(letter: DeadLetter) -> list[tuple[str, bytes]]:
    """All of a dead letter but its value."""
    return [
        *position_headers(letter.position, letter.broker_ms)[1:],
        ("pv-event-id", letter.event_id.encode()),
        ("pv-stage", letter.stage.encode()),
        ("pv-reason", letter.reason.encode()),
        ("pv-detail", letter.detail.encode("utf-8", "replace")),
        ("pv-model-version", letter.model_version.encode()),
        ("pv-truncated", b"1" if letter.truncated else b"0"),
        ("pv-size-bytes", b"%d" % letter.size_bytes),
        ("pv-sha256", letter.sha256.encode()),
    ]


def dead_letter_from_headers(headers: Headers) -> DeadLetter:
    """Read a dead letter's headers.

    Raises:
        KeyError, ValueError: the record was not written by polyvox.
    """
    found = dict(headers)
    position, broker_ms = position_from_headers(headers)
    return DeadLetter(
        event_id=found["pv-event-id"].decode(),
        position=position,
        broker_ms=broker_ms,
        stage=found["pv-stage"].decode(),
        reason=found["pv-reason"].decode(),
        detail=found["pv-detail"].decode(),
        model_version=found["pv-model-version"].decode(),
        truncated=found["pv-truncated"] == b"1",
        size_bytes=int(found["pv-size-bytes"]),
        sha256=found["pv-sha256"].decode(),
    )
