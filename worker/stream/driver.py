"""Faust's Kafka driver, taught to start from positions that are not the group's, and to pass records on in runs.

Faust calls `perform_seek` after every assignment and only then lets records flow; a seek from the assignment signal
would be overwritten by it (tried on Kafka 4.1).

Faust spends as much on a record as the rest of the worker, most of it on tasks and sensors. So neighbours in a
partition travel through conductor and stream as one message, whose value is a `Run`; each record of it is acknowledged
by itself all the same.

A fetch that began before a seek, or a run that waited for Faust's flow control through a rebalance, is from the old
position: let through, it makes the records between look like a gap, which is committed over. Both are dropped here, and
read again from where the seek went.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, NoReturn

from faust.transport.drivers.aiokafka import AIOKafkaConsumerThread, Consumer, Transport
from faust.types import TP

from worker.errors import PolyvoxError
from worker.stream.ending import end_process_of
from worker.stream.positions import GROUP, REDIS, refuse_expired, started_over
from worker.stream.records import SourceRecord, TopicPartition
from worker.telemetry import Log, get_logger

Positions = Callable[[list[TopicPartition]], Awaitable[Mapping[TopicPartition, int | None]]]
"""Where to read on in partitions; None is the beginning of the log."""

RUN_RECORDS = 64
LINGER_S = 0.01
"""Between two polls of few records: what is fetched, handed over and tokenized in one go costs less of each."""


@dataclass(frozen=True, slots=True)
class Run:
    """Records of one partition in the order of their offsets, and what acknowledges one of these offsets.

    Args:
        current: whether no rebalance or seek began since they were fetched; once it is false, they are read again.
    """

    tp: TopicPartition
    consumed: Sequence[Any]
    acknowledge: Callable[[int], None]
    current: Callable[[], bool]

    def records(self) -> list[SourceRecord]:
        """The records; a broker without timestamps gives -1, which counts as the epoch."""
        return [
            SourceRecord(
                tp=self.tp,
                offset=each.offset,
                broker_ms=max(0, each.timestamp or 0),
                key=each.key,
                value=each.value,
                headers=tuple(each.headers),
                ack=partial(self.acknowledge, each.offset),
            )
            for each in self.consumed
        ]


def seeking_transport(
    topics: frozenset[str], positions: Positions, fetch_wait_ms: int, end: Callable[[PolyvoxError], NoReturn]
) -> type[Transport]:
    """A transport whose consumer reads partitions of `topics` from `positions`, where they are known.

    Args:
        end: told of a position that cannot be read from: an error that leaves `perform_seek` would be lost in Faust.
    """

    class ConsumerThread(AIOKafkaConsumerThread):  # type: ignore[misc]  # Faust ships no types
        def _create_worker_consumer(self, transport: Transport) -> Any:
            consumer = super()._create_worker_consumer(transport)
            # Faust fixes both: 1.5 s, and uncommitted records, which an aborted transaction takes back.
            consumer._fetch_max_wait_ms = fetch_wait_ms
            consumer._isolation_level = "read_committed"
            return consumer

        async def on_start(self) -> None:
            """Watch the task that keeps the metadata: aiokafka does not, and finds no coordinator without it."""
            await super().on_start()
            self._ensure_consumer()._client._sync_task.add_done_callback(end_process_of)

        async def seek_in_thread(self, tp: TP, offset: int) -> None:
            await self.call_thread(self._ensure_consumer().seek, tp, offset)

    class SeekingConsumer(Consumer):  # type: ignore[misc]  # Faust ships no types
        def __init__(self, *arguments: Any, **options: Any) -> None:
            super().__init__(*arguments, **options)
            self._seeks = self._stops = 0
            self._seeking = asyncio.Lock()
            self._next: dict[TP, int | None] = {}
            """The offset after the last record that was passed on, or that was sought."""

        def _new_consumer_thread(self) -> ConsumerThread:
            return ConsumerThread(self, loop=self.loop, beacon=self.beacon)

        async def _seek(self, partition: TP, offset: int) -> None:
            """In the thread that fetches: Faust seeks from another, under its hands (robinhood/aiokafka issue 19)."""
            await self._thread.seek_in_thread(partition, offset)

        def stop_flow(self) -> None:
            """Faust's first step of every rebalance, and of a stop: nothing that was fetched is current any more."""
            self._stops += 1
            super().stop_flow()

        async def perform_seek(self) -> None:
            async with self._seeking:
                self._seeks += 1
                await super().perform_seek()
                self._next = {TP(*tp): self._read_offset.get(TP(*tp)) for tp in self.assignment()}
                try:
                    await self._refuse_expired()
                    await self._seek_own()
                except PolyvoxError as error:
                    end(error)

        async def _refuse_expired(self) -> None:
            """Stop at input records that expired unread: what follows them would be committed over their loss."""
            committed = {tp: offset for tp, offset in self._next.items() if tp.topic not in topics and offset}
            if committed:
                begins = await self.earliest_offsets(*committed)
                for tp, position in committed.items():
                    refuse_expired(GROUP, TopicPartition(*tp), position, begins.get(tp) or 0)

        async def _seek_own(self) -> None:
            """Seek the positions that are not the group's."""
            assigned = [TopicPartition(*tp) for tp in self.assignment() if tp.topic in topics]
            known = await positions(assigned)
            if not known:
                return
            tps = [TP(*tp) for tp in known]
            first = {TopicPartition(*tp): offset for tp, offset in (await self.earliest_offsets(*tps)).items()}
            start = {tp: (first.get(tp) or 0) if offset is None else offset for tp, offset in known.items()}
            for tp, offset in start.items():
                refuse_expired(REDIS, tp, offset, first.get(tp) or 0)
            behind = {TP(*tp): offset for tp, offset in start.items() if (self._next.get(TP(*tp)) or 0) != offset}
            for tp, offset in start.items():
                await self.seek(TP(*tp), offset)
                self._next[TP(*tp)] = offset
                # Faust commits only from here on: without it, acks beyond the group's offset look like a gap.
                self._committed_offset[TP(*tp)] = offset
                get_logger().info(Log.POSITION_SOUGHT, topic=tp.topic, partition=tp.partition, offset=offset)
            if behind:  # while no record comes, nothing else would be committed, and whoever asks would see a lag
                await self._commit(behind)

        async def getmany(self, timeout: float) -> AsyncIterator[tuple[TP, Any]]:  # noqa: ASYNC109 - Faust's interface
            """Yield what was fetched as messages that each carry a run."""
            seeks = self._seeks
            fetched, active = await self._wait_next_records(timeout)
            async with self._seeking:
                if self._seeks != seeks:
                    await self._rewind(fetched or {})
                    return
            for tp, consumed in (fetched or {}).items():
                if active is not None and tp not in active and tp not in self._buffered_partitions:
                    continue
                for start in range(0, len(consumed), RUN_RECORDS):
                    if self.should_stop or not self.flow_active or self._seeks != seeks:
                        return
                    run = await self._next_run(tp, consumed[start : start + RUN_RECORDS])
                    if run:
                        yield tp, self._message(tp, run)
            if 0 < sum(map(len, (fetched or {}).values())) < RUN_RECORDS:
                await asyncio.sleep(LINGER_S)

        async def _next_run(self, tp: TP, consumed: Sequence[Any]) -> Sequence[Any]:
            """Leave out what was read before; note the offsets that hold no record, so that commits pass them."""
            expected = self._next.get(tp)
            if tp.topic not in topics and expected is not None and consumed[0].offset < expected:
                end(started_over(GROUP, TopicPartition(*tp), expected, consumed[0].offset))
            fresh = [each for each in consumed if expected is None or each.offset >= expected]
            for each in fresh:
                if expected is not None and each.offset > expected:
                    await self._add_gap(tp, expected, each.offset - 1)
                expected = each.offset + 1
            self._next[tp] = expected
            if fresh:  # Faust sees the last record of the run only, and must not take the others for a gap
                self._read_offset[tp] = fresh[-1].offset
            return fresh

        async def _rewind(self, fetched: Mapping[TP, Any]) -> None:
            """Go back to the records of a fetch that began before a seek: they may be from before it, or not."""
            for tp in fetched:
                if tp not in self._next:
                    continue  # no longer ours
                offset = self._next[tp]
                if offset is None:
                    offset = (await self.earliest_offsets(tp)).get(tp) or 0
                await self._seek(tp, offset)

        def _message(self, tp: TP, consumed: Sequence[Any]) -> Any:
            message = self._to_message(tp, consumed[-1])
            message.key, message.headers = None, ()
            then = (self._seeks, self._stops)
            message.value = Run(
                TopicPartition(*tp),
                consumed,
                partial(self._acknowledge, tp),
                lambda: then == (self._seeks, self._stops),
            )
            return message

        def _acknowledge(self, tp: TP, offset: int) -> None:
            """As `ack` does for the offset of a message."""
            committed, index = self._committed_offset[tp], self._acked_index[tp]
            if (committed is None or offset >= committed) and offset not in index:
                index.add(offset)
                self._acked[tp].append(offset)
                self._n_acked += 1

        def ack(self, message: Any) -> bool:
            """Acknowledge the whole run of a message."""
            for each in message.value.consumed:
                self._acknowledge(message.tp, each.offset)
            return True

    class SeekingTransport(Transport):  # type: ignore[misc]  # Faust ships no types
        Consumer = SeekingConsumer

    return SeekingTransport
