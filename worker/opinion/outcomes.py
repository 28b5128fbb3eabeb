"""From a record of `enriched` or `dead-letters` back to the outcome that it carries: pure."""

from __future__ import annotations

import msgspec

from worker.errors import BadRecord
from worker.events import ORIGIN_HEADER, Headers, decode_enriched, decode_origin, position_from_headers
from worker.opinion.cells import Outcome


def read_outcome(headers: Headers, value: bytes | None) -> Outcome:
    """The outcome in a record.

    Raises:
        ValueError: polyvox did not write the record; its cause says what is missing.
    """
    try:
        return _read(headers, value)
    except (KeyError, ValueError, msgspec.DecodeError, BadRecord) as error:
        raise ValueError(f"not written by polyvox: {type(error).__name__}") from error


def _read(headers: Headers, value: bytes | None) -> Outcome:
    found = dict(headers)
    position, broker_ms = position_from_headers(headers)
    origin = decode_origin(found[ORIGIN_HEADER]) if ORIGIN_HEADER in found else None
    if "pv-reason" in found:
        reason = found["pv-reason"].decode()
        return Outcome(position=position, kind="dead_lettered", broker_ms=broker_ms, origin=origin, reason=reason)
    if value is None:
        return Outcome(position=position, kind="tombstone", broker_ms=broker_ms)
    event = decode_enriched(value)
    return Outcome(position=position, kind="analysed", broker_ms=broker_ms, origin=origin, event=event)
