"""How records look: a coloured line for people, an object for programs."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import msgspec
from rich.style import Style
from rich.text import Text

from worker.cli.console import printable
from worker.events import (
    Analysis,
    DeadLetter,
    EnrichedPost,
    Entity,
    dead_letter_from_headers,
    decode_enriched,
    position_from_headers,
)

if TYPE_CHECKING:
    from worker.feeds.log import Record

SENTIMENT_STYLES = {"negative": "red", "neutral": "bright_black", "positive": "green"}
TEXT_CHARS = 90


def sentiment_text(analysis: Analysis | EnrichedPost) -> Text:
    """The label in its colour, and the confidence in percent; in italics when the model abstains."""
    sentiment = analysis.sentiment
    style = Style.parse(SENTIMENT_STYLES[sentiment.label]) + Style(italic=sentiment.abstained)
    return Text(f"{sentiment.label:<8} {sentiment.confidence:4.0%}", style)


def entities_text(entities: Sequence[Entity]) -> Text:
    """`text TYPE` for each mention."""
    parts = [Text.assemble((printable(entity.text, 40), "cyan"), f" {entity.type}") for entity in entities]
    return Text(", ").join(parts)


def as_line(record: Record) -> Text:
    """A record of `enriched` or `dead-letters`, or of any other topic, as one line."""
    event = read(record)
    if isinstance(event, EnrichedPost):
        return _enriched_line(event)
    if isinstance(event, DeadLetter):
        return _letter_line(event, record.value or b"")
    place = f"{record.topic}/{record.partition}@{record.offset} "
    value = "(no value: a tombstone)" if record.value is None else record.value.decode("utf-8", "replace")
    return Text.assemble((place, "bright_black"), printable(value, 2 * TEXT_CHARS))


def _enriched_line(event: EnrichedPost) -> Text:
    line = Text.assemble(
        (f"{event.language:<8}", "magenta"), sentiment_text(event), "  ", (printable(event.topic.name, 24), "blue")
    )
    if event.flags:
        line.append(f"  [{', '.join(event.flags)}]", "yellow")
    line.append("  " + printable(event.post.text, TEXT_CHARS))
    return line if not event.entities else Text.assemble(line, "  ", entities_text(event.entities))


def _letter_line(letter: DeadLetter, value: bytes) -> Text:
    place = f"{letter.position.topic}/{letter.position.partition}@{letter.position.offset}"
    return Text.assemble(
        (f"{letter.stage}: {letter.reason}", "red"),
        (f"  {letter.event_id} {place} {letter.size_bytes} bytes  ", "bright_black"),
        printable(letter.detail, TEXT_CHARS) + "  ",
        printable(value[:400].decode("utf-8", "replace"), TEXT_CHARS),
    )


def read(record: Record) -> EnrichedPost | DeadLetter | None:
    """What polyvox wrote: by its headers a dead letter, by its value an enriched post; None for anything else."""
    try:
        return dead_letter_from_headers(record.headers)
    except (KeyError, ValueError):
        pass
    try:
        position_from_headers(record.headers)
        return decode_enriched(record.value) if record.value is not None else None
    except (KeyError, ValueError, msgspec.DecodeError):
        return None


def as_object(record: Record) -> dict[str, Any]:
    """A record for `--json`: an enriched post as it is, a dead letter with its headers, another with its place."""
    event = read(record)
    if isinstance(event, EnrichedPost) and record.value is not None:
        value: dict[str, Any] = json.loads(record.value)
        return value
    if isinstance(event, DeadLetter):
        return letter_object(event, record.value or b"")
    return {
        "topic": record.topic,
        "partition": record.partition,
        "offset": record.offset,
        "timestamp_ms": record.timestamp_ms,
        "key": None if record.key is None else record.key.decode("utf-8", "replace"),
        "value": _json_or_text(record.value),
    }


def letter_object(letter: DeadLetter, value: bytes) -> dict[str, Any]:
    """A dead letter's headers as an object, with its bytes as text under `value`."""
    fields: dict[str, Any] = msgspec.to_builtins(letter)
    return fields | {"value": value.decode("utf-8", "replace")}


def _json_or_text(value: bytes | None) -> Any:
    if value is None:
        return None
    try:
        return json.loads(value)
    except ValueError:
        return value.decode("utf-8", "replace")
