"""Faust's Kafka driver, taught to start from positions that are not the group's, and to read what was committed.

Faust calls `perform_seek` after every assignment and only then lets records flow; a seek from the assignment signal
would be overwritten by it (tried on Kafka 4.1).
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from faust.transport.drivers.aiokafka import AIOKafkaConsumerThread, Consumer, Transport
from faust.types import TP

from worker.stream.aggregate import check_start
from worker.stream.records import TopicPartition
from worker.telemetry import Log, get_logger

Positions = Callable[[list[TopicPartition]], Awaitable[Mapping[TopicPartition, int]]]


def seeking_transport(topics: frozenset[str], positions: Positions, fetch_wait_ms: int) -> type[Transport]:
    """A transport whose consumer reads partitions of `topics` from `positions`, where they are known."""

    class ConsumerThread(AIOKafkaConsumerThread):  # type: ignore[misc]  # Faust ships no types
        def _create_worker_consumer(self, transport: Transport) -> Any:
            consumer = super()._create_worker_consumer(transport)
            # Faust fixes both: 1.5 s, and uncommitted records, which an aborted transaction takes back.
            consumer._fetch_max_wait_ms = fetch_wait_ms
            consumer._isolation_level = "read_committed"
            return consumer

    class SeekingConsumer(Consumer):  # type: ignore[misc]  # Faust ships no types
        def _new_consumer_thread(self) -> ConsumerThread:
            return ConsumerThread(self, loop=self.loop, beacon=self.beacon)

        async def perform_seek(self) -> None:
            await super().perform_seek()
            assigned = [TopicPartition(*tp) for tp in self.assignment() if tp.topic in topics]
            known = await positions(assigned)
            if not known:
                return
            tps = [TP(*tp) for tp in known]
            first = await self.earliest_offsets(*tps)
            check_start(known, {TopicPartition(*tp): offset for tp, offset in first.items()})
            for tp, offset in known.items():
                await self.seek(TP(*tp), offset)
                # Faust commits only from here on: without it, acks beyond the group's offset look like a gap.
                self._committed_offset[TP(*tp)] = offset
                get_logger().info(Log.POSITION_SOUGHT, topic=tp.topic, partition=tp.partition, offset=offset)

    class SeekingTransport(Transport):  # type: ignore[misc]  # Faust ships no types
        Consumer = SeekingConsumer

    return SeekingTransport
