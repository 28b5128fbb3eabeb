"""Faust's Kafka driver, taught to start from positions that are not the group's.

Faust calls `perform_seek` after every assignment and only then lets records flow; a seek from the assignment signal
would be overwritten by it (tried on Kafka 4.1).
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping

from faust.transport.drivers.aiokafka import Consumer, Transport
from faust.types import TP

from worker.stream.aggregate import check_bounds
from worker.stream.records import TopicPartition
from worker.telemetry import Log, get_logger

Positions = Callable[[list[TopicPartition]], Awaitable[Mapping[TopicPartition, int]]]


def seeking_transport(topics: frozenset[str], positions: Positions) -> type[Transport]:
    """A transport whose consumer reads partitions of `topics` from `positions`, where they are known."""

    class SeekingConsumer(Consumer):  # type: ignore[misc]  # Faust ships no types
        async def perform_seek(self) -> None:
            await super().perform_seek()
            assigned = [TopicPartition(*tp) for tp in self.assignment() if tp.topic in topics]
            known = await positions(assigned)
            if not known:
                return
            tps = [TP(*tp) for tp in known]
            first = await self.earliest_offsets(*tps)
            end = await self.highwaters(*tps)
            check_bounds(known, _plain(first), _plain(end))
            for tp, offset in known.items():
                await self.seek(TP(*tp), offset)
                # Faust commits only from here on: without it, acks beyond the group's offset look like a gap.
                self._committed_offset[TP(*tp)] = offset
                get_logger().info(Log.POSITION_SOUGHT, topic=tp.topic, partition=tp.partition, offset=offset)

    class SeekingTransport(Transport):  # type: ignore[misc]  # Faust ships no types
        Consumer = SeekingConsumer

    return SeekingTransport


def _plain(offsets: Mapping[TP, int | None]) -> dict[TopicPartition, int]:
    return {TopicPartition(tp.topic, tp.partition): offset for tp, offset in offsets.items() if offset is not None}
