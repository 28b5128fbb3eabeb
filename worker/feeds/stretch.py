"""Long stretches of topics, read without a group and without what transactions took back."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from kafka import KafkaConsumer, TopicPartition

from worker.feeds.connect import consumer
from worker.feeds.log import Record, end_offsets, partitions_of, read_pieces
from worker.settings import Settings


@dataclass(frozen=True, slots=True)
class Span:
    """What one partition holds.

    Args:
        begin, end: the oldest offset, and the one that the next record gets.
        oldest_ms: the timestamp of the oldest record, when older ones are gone (`begin` > 0); else None.
    """

    topic: str
    partition: int
    begin: int
    end: int
    oldest_ms: int | None = None


class Stretches:
    """Reads with one consumer; errors as in `connect.broker_errors`."""

    def __init__(self, client: KafkaConsumer) -> None:
        self._client = client

    def spans(self, topics: list[str]) -> list[Span]:
        """What each partition of some topics holds, in order.

        Raises:
            ConfigInvalid: there is no such topic.
        """
        partitions = [partition for topic in topics for partition in partitions_of(self._client, topic)]
        begins, ends = self._client.beginning_offsets(partitions), end_offsets(self._client, partitions)
        return [self._span(tp, begins[tp], ends[tp]) for tp in partitions]

    def _span(self, tp: TopicPartition, begin: int, end: int) -> Span:
        pieces = read_pieces(self._client, tp, begin, end) if begin > 0 else iter(())
        first = next((piece[0].timestamp_ms for piece in pieces if piece), None)
        return Span(tp.topic, tp.partition, begin, end, first)

    def since(self, span: Span, at_ms: int) -> int:
        """An offset of which all before it were written before a moment, Unix milliseconds; the end if all were.

        Tansu 0.6 tells the first record of the batch, and where there is none the first of all: earlier, never later.
        """
        tp = TopicPartition(span.topic, span.partition)
        found = self._client.offsets_for_times({tp: max(0, at_ms)})[tp]
        return span.end if found is None else max(span.begin, found.offset)

    def records(self, topic: str, partition: int, begin: int, end: int) -> Iterator[Record]:
        """The records of one partition from `begin` up to, not with, `end`; one poll of them in memory.

        Raises:
            BrokerUnavailable: the log did not come in time.
        """
        for piece in read_pieces(self._client, TopicPartition(topic, partition), begin, end):
            yield from piece


@contextmanager
def stretches(settings: Settings) -> Iterator[Stretches]:
    """A reader of what the worker reads: committed records only."""
    with consumer(settings, "read_committed") as client:
        yield Stretches(client)
