"""What became of the records of a run, read from the output topics while it goes on."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime

from worker.errors import PolyvoxError
from worker.events import decode_enriched, position_from_headers
from worker.feeds.log import Record
from worker.feeds.tail import batches
from worker.settings import Settings


@dataclass
class Outcomes:
    """The first outcome of each record, by event id; latencies in milliseconds from record to outcome."""

    seen: set[str] = field(default_factory=set)
    analysed: int = 0
    dead_lettered: int = 0
    tombstones: int = 0
    languages: Counter[str] = field(default_factory=Counter)
    flags: Counter[str] = field(default_factory=Counter)
    reasons: Counter[str] = field(default_factory=Counter)
    topics: dict[str, str] = field(default_factory=dict)
    models: set[str] = field(default_factory=set)
    latencies_ms: list[int] = field(default_factory=list)
    first_event: datetime | None = None
    last_event: datetime | None = None

    @property
    def count(self) -> int:
        """Records that have an outcome."""
        return len(self.seen)

    def add(self, record: Record) -> None:
        """Count a record of an output topic; a repeat of an event id counts once.

        Raises:
            KeyError, ValueError, msgspec.DecodeError: not written by polyvox.
        """
        headers = dict(record.headers)
        event_id = headers["pv-event-id"].decode()
        if event_id in self.seen:
            return
        _, broker_ms = position_from_headers(record.headers)
        self.latencies_ms.append(max(0, record.timestamp_ms - broker_ms))
        if "pv-reason" in headers:
            self.dead_lettered += 1
            self.reasons[headers["pv-reason"].decode()] += 1
        elif record.value is None:
            self.tombstones += 1
        else:
            self._add_enriched(record.value)
        self.seen.add(event_id)

    def _add_enriched(self, value: bytes) -> None:
        event = decode_enriched(value)
        self.analysed += 1
        self.languages[event.language] += 1
        self.flags.update(event.flags)
        self.topics[event.topic.label] = event.topic.name
        self.models.add(event.model.version)
        self.first_event = min(self.first_event or event.event_time, event.event_time)
        self.last_event = max(self.last_event or event.event_time, event.event_time)


class Observer:
    """Reads the output topics in a thread of its own; wait for it with `wait`.

    Args:
        settings: names the topics, which must exist.
    """

    def __init__(self, settings: Settings) -> None:
        self.outcomes = Outcomes()
        self._changed = threading.Condition()
        self._stopping = False
        self._failure: Exception | None = None
        topics = [settings.enriched_topic, settings.dead_letters_topic]
        self._thread = threading.Thread(target=self._read, args=(batches(settings, topics, "beginning"),), daemon=True)

    def __enter__(self) -> Observer:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopping = True
        self._thread.join(timeout=5.0)

    def _read(self, polls: Iterator[list[Record]]) -> None:
        try:
            for records in polls:
                if self._stopping:
                    return
                for record in records:
                    self.outcomes.add(record)
                if records:
                    with self._changed:
                        self._changed.notify_all()
        except Exception as error:  # noqa: BLE001  handed to the waiting thread
            self._failure = error
            with self._changed:
                self._changed.notify_all()

    def wait(self, timeout_s: float) -> None:
        """Return when there are new outcomes, or after the timeout.

        Raises:
            PolyvoxError: the topics cannot be read any more.
        """
        with self._changed:
            if self._failure is None:
                self._changed.wait(timeout_s)
        if self._failure is not None:
            raise PolyvoxError(f"the output topics cannot be read: {self._failure}") from self._failure
