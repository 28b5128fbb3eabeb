"""Posts into a topic, each delivery confirmed."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from kafka import KafkaProducer
from kafka import errors as kafka_errors

from worker.feeds.connect import producer
from worker.feeds.records import BadRow, PostRow, Row
from worker.feeds.topics import ensure_topic
from worker.settings import Settings

MAX_UNCONFIRMED = 2000
"""Records sent and not yet confirmed, at most: bounds the memory and the repeats after an interruption."""

Pace = Callable[[int], None]
"""Called before each record with the number of those sent so far; returns when the next may go."""

RECORD_ERRORS = (
    kafka_errors.MessageSizeTooLargeError,
    kafka_errors.RecordListTooLargeError,
    kafka_errors.InvalidRecordError,
    kafka_errors.CorruptRecordError,
    kafka_errors.InvalidTimestampError,
)
"""Errors of one record alone: the next one may pass. After any other the brokers are in doubt and reading stops."""


def unpaced(_sent: int) -> None:
    """As fast as the brokers take records."""


@dataclass
class Produced:
    """What became of a feed: `sent` counts confirmed deliveries, `bad` rows that were no posts, `failed` the rest."""

    sent: int = 0
    bad: int = 0
    failed: int = 0
    tombstones: int = 0
    stopped_at_line: int | None = None

    @property
    def complete(self) -> bool:
        """Whether every row is in the topic."""
        return self.bad == self.failed == 0 and self.stopped_at_line is None

    def __add__(self, other: Produced) -> Produced:
        """The counts of two feeds together; stopped where the second was."""
        return Produced(
            self.sent + other.sent,
            self.bad + other.bad,
            self.failed + other.failed,
            self.tombstones + other.tombstones,
            other.stopped_at_line,
        )


@dataclass(frozen=True)
class Watch:
    """What a caller wants to hear while records are produced.

    Args:
        progress: called after each row that was read.
        problem: called with each bad row and each failed delivery, in no order.
        pace: what slows the sending down; see `rate`.
    """

    progress: Callable[[Produced], None] = lambda _: None
    problem: Callable[[BadRow], None] = lambda _: None
    pace: Pace = unpaced


def produce(settings: Settings, topic: str, rows: Iterator[Row], watch: Watch | None = None) -> Produced:
    """Send rows to a topic, which is created when it is missing, and wait until each is confirmed by all replicas.

    The key is the post's id, so that copies of a post reach the same partition.

    Raises:
        BrokerUnavailable: the cluster cannot be reached at the start. Later faults are reported as failed rows.
        ConfigInvalid: the topic or the login cannot work.
    """
    ensure_topic(settings, topic)
    with producer(settings) as client:
        return _Sender(client, topic, watch or Watch()).run(rows)


@dataclass
class _Sender:
    """One run of `produce`: what is on its way, and the counts."""

    client: KafkaProducer
    topic: str
    watch: Watch
    counts: Produced = field(default_factory=Produced)
    unconfirmed: deque[tuple[PostRow, Any]] = field(default_factory=deque)

    def run(self, rows: Iterator[Row]) -> Produced:
        for row in rows:
            if isinstance(row, BadRow):
                self.counts.bad += 1
                self.watch.problem(row)
            else:
                self._send(row)
            self._confirm(down_to=MAX_UNCONFIRMED)
            self.watch.progress(self.counts)
            if self.counts.stopped_at_line is not None:
                break
        self._confirm(down_to=0)
        self.watch.progress(self.counts)
        return self.counts

    def _send(self, row: PostRow) -> None:
        self.watch.pace(self.counts.sent + len(self.unconfirmed))
        try:
            self.unconfirmed.append((row, self.client.send(row.topic or self.topic, key=row.key, value=row.value)))
        except (kafka_errors.KafkaError, ValueError) as error:
            self._failed(row, error)

    def _confirm(self, down_to: int) -> None:
        """Count deliveries that are done, and wait for the oldest while more than `down_to` are on their way."""
        while self.unconfirmed and (len(self.unconfirmed) > down_to or self.unconfirmed[0][1].is_done):
            row, future = self.unconfirmed.popleft()
            try:
                future.get()
            except kafka_errors.KafkaError as error:
                self._failed(row, error)
            else:
                self.counts.sent += 1
                self.counts.tombstones += row.value is None

    def _failed(self, row: PostRow, error: Exception) -> None:
        self.counts.failed += 1
        self.watch.problem(BadRow(row.line, "not_delivered", f"{type(error).__name__}: {str(error)[:200]}"))
        if not isinstance(error, (*RECORD_ERRORS, ValueError)) and self.counts.stopped_at_line is None:
            self.counts.stopped_at_line = row.line


def rate(
    posts_per_s: float, now_s: Callable[[], float] = time.monotonic, sleep: Callable[[float], None] = time.sleep
) -> Pace:
    """A pace of so many posts a second, evenly spread; a delay is not made up for by a burst of more than a second."""
    started_s: float | None = None

    def wait(sent: int) -> None:
        nonlocal started_s
        due_s = sent / posts_per_s
        if started_s is None or now_s() - started_s - due_s > 1.0:
            started_s = now_s() - due_s
        sleep(max(0.0, started_s + due_s - now_s()))

    return wait
