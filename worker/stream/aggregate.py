"""The aggregate stage: outcomes in, counters out, each with exactly-once effect.

Positions are Redis' to keep: the counters and the next offset to read change in one script, so that a kill, a second
read or a rolled-back Redis leaves what the first applied outcomes imply. Kafka's committed offsets only show the lag.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import groupby

from worker.opinion.cells import Outcome
from worker.opinion.outcomes import read_outcome
from worker.opinion.store import Applied, Consumed, Store
from worker.settings import Settings
from worker.stream.ending import cancel
from worker.stream.patience import Patience
from worker.stream.positions import REDIS, started_over
from worker.stream.records import Routes, SourceRecord, TopicPartition
from worker.telemetry import APPLIED, OUTCOME_LATENCY, Log, get_logger
from worker.timing import Clock


@dataclass(frozen=True)
class AggregateParts:
    """What the stage is made of; all of it replaceable by the shipped fakes."""

    routes: Routes
    store: Store
    clock: Clock


class AggregateStage:
    """Runs until closed; an exception in any part reaches `failed`, and the process must end then."""

    def __init__(self, parts: AggregateParts, settings: Settings) -> None:
        self._parts = parts
        self._settings = settings
        self._threads = ThreadPoolExecutor(max_workers=1, thread_name_prefix="aggregate")
        self._waiting: dict[TopicPartition, list[SourceRecord]] = {}
        self._expected: dict[tuple[str, TopicPartition], int] = {}
        self._sought: dict[TopicPartition, int] = {}
        self._admitted_some = asyncio.Event()
        self._applied_some = asyncio.Condition()
        self._task: asyncio.Task[None] | None = None
        self.failed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._patience = Patience("apply")

    @property
    def outage(self) -> bool:
        """Whether Redis is known to be away."""
        return self._patience.outage

    async def start(self) -> None:
        """Check Redis and start.

        Raises:
            StoreUnavailable, ConfigInvalid: as `Store.check`.
        """
        for warning in await self._parts.store.check():
            get_logger().warning(Log.STORE_WARNING, warning=warning)
        self._task = asyncio.create_task(self._apply_loop())
        self._task.add_done_callback(self._on_task_end)

    async def positions(self, assigned: Iterable[TopicPartition]) -> dict[TopicPartition, int | None]:
        """Where to read on in each assigned partition, as stored in Redis.

        None where nothing is stored and `start_at` is `earliest`: from the beginning, whatever the group has committed,
        since a Redis that is new or was emptied has counted none of it. Absent: where the group says.
        """
        shards = {tp: self._parts.routes.source_shard(tp.partition) for tp in assigned}
        stored = await self._parts.store.positions(sorted({shard for shard in shards.values() if shard}))
        found: dict[TopicPartition, int | None] = {}
        for tp, shard in shards.items():
            offset = stored.get(shard or "", {}).get((tp.topic, tp.partition))
            if shard is not None and offset is not None:
                found[tp] = self._expected[shard, tp] = self._sought[tp] = offset
            elif shard is not None and self._settings.start_at == "earliest":
                found[tp] = None
        return found

    def admit(self, record: SourceRecord) -> None:
        """Take the next record of its partition; never blocks. When the stage is `full`, await `room` first.

        Raises:
            PositionLost: it lies before the stored position: the client found that beyond the log and started over.
        """
        sought = self._sought.pop(record.tp, 0)
        if record.offset < sought:
            raise started_over(REDIS, record.tp, sought, record.offset)
        self._waiting.setdefault(record.tp, []).append(record)
        self._admitted_some.set()

    @property
    def full(self) -> bool:
        """Whether two batches wait."""
        return self.waiting >= 2 * self._settings.aggregate_batch

    async def room(self) -> None:
        """Return when the stage is not full."""
        async with self._applied_some:
            await self._applied_some.wait_for(lambda: not self.full)

    @property
    def waiting(self) -> int:
        """Outcomes read and not yet applied."""
        return sum(map(len, self._waiting.values()))

    def revoke(self, partitions: Iterable[TopicPartition]) -> None:
        """Forget partitions that go to another worker."""
        for tp in partitions:
            self._waiting.pop(tp, None)
            self._sought.pop(tp, None)
            self._expected = {key: offset for key, offset in self._expected.items() if key[1] != tp}

    async def drain(self, timeout_s: float) -> bool:
        """Wait until every outcome read is applied; False when `timeout_s` was not enough."""
        async with self._applied_some:
            try:
                await asyncio.wait_for(self._applied_some.wait_for(lambda: self.waiting == 0), timeout_s)
            except TimeoutError:
                return False
        return True

    async def aclose(self) -> None:
        """Stop at once; what is not applied is read again by the next worker."""
        if self._task is not None:
            await cancel([self._task])
        self._threads.shutdown(wait=False, cancel_futures=True)
        await self._parts.store.aclose()

    def _on_task_end(self, task: asyncio.Task[None]) -> None:
        if not task.cancelled() and not self.failed.done():
            self.failed.set_exception(task.exception() or RuntimeError("the stage ended by itself"))

    async def _apply_loop(self) -> None:
        while True:
            await self._admitted_some.wait()
            if self.waiting < self._settings.aggregate_batch:
                await asyncio.sleep(self._settings.aggregate_wait_ms / 1000)
            self._admitted_some.clear()
            await asyncio.gather(*(self._apply_partition(tp) for tp in list(self._waiting)))
            async with self._applied_some:
                self._applied_some.notify_all()

    async def _apply_partition(self, tp: TopicPartition) -> None:
        """Apply what waits of one partition: one Redis call for each source partition in it, then acknowledge."""
        batch = self._waiting.get(tp, [])[: self._settings.aggregate_batch]
        if not batch:
            return
        loop = asyncio.get_running_loop()
        outcomes = await loop.run_in_executor(self._threads, _read_outcomes, batch)
        read = zip(batch, outcomes, strict=True)
        for shard, group in groupby(read, key=lambda pair: pair[1].position.shard if pair[1] else None):
            pairs = list(group)
            if shard is not None:
                await self._apply(shard, tp, pairs[-1][0].offset + 1, [known for _, known in pairs if known])
            for record, _ in pairs:
                record.ack()
        left = self._waiting.get(tp, [])
        if left[: len(batch)] == batch:
            del left[: len(batch)]
        if left:
            self._admitted_some.set()

    async def _apply(self, shard: str, tp: TopicPartition, next_offset: int, outcomes: Sequence[Outcome]) -> None:
        """Apply one batch, waiting as long as Redis is away or full; the guard makes a repeated call harmless."""
        consumed = Consumed(tp.topic, tp.partition, self._expected.get((shard, tp)), next_offset)
        applied = await self._patience.until_answered(lambda: self._parts.store.apply(shard, consumed, outcomes))
        self._expected[shard, tp] = max(next_offset, self._expected.get((shard, tp), 0))
        self._count(applied, outcomes)

    def _count(self, applied: Applied, outcomes: Sequence[Outcome]) -> None:
        APPLIED.labels(result="first").inc(applied.first)
        APPLIED.labels(result="repeat").inc(applied.repeats)
        now_ms = self._parts.clock.unix_ms()
        latency = OUTCOME_LATENCY.labels(stage="aggregated")
        for outcome in outcomes:
            latency.observe(max(0, now_ms - outcome.broker_ms) / 1000)


def _read_outcomes(batch: Sequence[SourceRecord]) -> list[Outcome | None]:
    return [_read_outcome(record) for record in batch]


def _read_outcome(record: SourceRecord) -> Outcome | None:
    """The outcome in a record; None, logged, for a record that polyvox did not write."""
    try:
        return read_outcome(record.headers, record.value)
    except ValueError as error:
        get_logger().error(
            Log.FOREIGN_RECORD,
            topic=record.tp.topic,
            partition=record.tp.partition,
            offset=record.offset,
            error=type(error.__cause__ or error).__name__,
        )
        return None
