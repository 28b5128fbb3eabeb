"""The enrich stage: posts in, outcomes out, while the model is never left waiting.

    admit -> prepare (thread) -> pool -> infer (N in flight) -> decode (thread) -> stories -> ledger -> publish -> ack

Stages overlap: the next batch is prepared and the last one published while the model works on the current one. Every
await is per batch and stage; a few short posts are worked on without a thread. The records read and without an outcome
are bounded, so a slow model stops the reading.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol

from worker.analysis.batching import Pool, TokenBudget
from worker.analysis.bundle import Bundle
from worker.analysis.inference import Inference, Logits
from worker.analysis.prepare import Preparer
from worker.analysis.seen import SeenWindows
from worker.entities.link import Linker
from worker.errors import BadRecord
from worker.opinion.stories import StoryIndex
from worker.settings import Settings
from worker.stream.asking import Asking
from worker.stream.breaker import Breaker
from worker.stream.commit import Ledger, settle
from worker.stream.decoding import Decoding
from worker.stream.ending import cancel
from worker.stream.limits import DeadLetterLimits
from worker.stream.outcomes import Outcomes
from worker.stream.records import OutputRecord, Routes, SourceRecord, TopicPartition
from worker.stream.recovery import Recovery
from worker.stream.shared_answers import SharedAnswers
from worker.stream.stories import Storyteller
from worker.stream.work import Analysed, Complete, Unit, Work, collect
from worker.telemetry import STAGE_SECONDS, WAITING
from worker.timing import Clock

PREPARE_CHUNK = 128
FEW_POSTS, FEW_BYTES = 4, 8_192
"""The work on so few takes about as long as handing them to a thread and back: docs/decisions/speed.md."""


class Publisher(Protocol):
    """Where outcomes go."""

    async def publish(self, partition: int, records: Sequence[OutputRecord]) -> None:
        """Return when the brokers have every record, in order; raise when one may be missing."""
        ...


@dataclass(frozen=True)
class EnrichParts:
    """What the stage is made of; all of it replaceable by the shipped fakes."""

    routes: Routes
    bundle: Bundle
    preparer: Preparer
    inference: Inference
    publisher: Publisher
    strike: Callable[[str], Awaitable[int]]
    stories: StoryIndex
    clock: Clock
    linker: Linker
    shared: SharedAnswers | None = None


class EnrichStage:
    """Runs until `drain`; an exception in any part reaches `failed`, and the process must end then."""

    def __init__(self, parts: EnrichParts, settings: Settings) -> None:
        self._parts = parts
        self._settings = settings
        self._outcomes = Outcomes(parts.routes, parts.bundle.model, settings.future_tolerance_s)
        self._decoding = Decoding(self._outcomes, parts.bundle, settings.abstain_below, parts.linker)
        self._storyteller = Storyteller(parts.stories)
        self._limits = DeadLetterLimits.of(settings)
        self._budget = TokenBudget(settings.batch_tokens, settings.batch_posts)
        seen = SeenWindows(settings.seen_windows_mb * 1_000_000)
        self._asking = Asking(parts.preparer, parts.inference, seen, parts.shared)
        self._recovery = Recovery(
            self._asking.infer,
            self._asking.canary,
            parts.strike,
            settings.strikes,
            self._set_outage,
            Breaker(parts.clock),
        )
        self._threads = ThreadPoolExecutor(max_workers=2, thread_name_prefix="enrich")
        self._ledgers: dict[TopicPartition, Ledger[OutputRecord]] = {}
        self._intake: list[Work] = []
        self._pool: Pool[Unit] = Pool()
        self._answered: asyncio.Queue[list[Complete]] = asyncio.Queue()
        self._analysed: asyncio.Queue[list[Analysed]] = asyncio.Queue()
        self._prepared_some, self._finished_some, self._admitted_some = (asyncio.Event() for _ in range(3))
        self._settled = asyncio.Condition()
        self._tasks: list[asyncio.Task[None]] = []
        self.failed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._model_away = False
        self._in_flight = 0

    @property
    def outage(self) -> bool:
        """Whether the model, or the index of stories, is known to be away."""
        return self._model_away or self._storyteller.outage

    async def start(self) -> None:
        """Check the model and start the stages.

        Raises:
            InferenceUnavailable, ModelInvalid: as `Inference.check`.
        """
        await self._parts.inference.check()
        await self._asking.canary()
        loops: list[Coroutine[Any, Any, None]] = [self._prepare_loop(), self._decode_loop()]
        loops += [self._story_loop(), self._publish_loop()]
        loops += [self._infer_loop() for _ in range(self._settings.batches_in_flight)]
        self._tasks = [asyncio.create_task(loop) for loop in loops]
        for task in self._tasks:
            task.add_done_callback(self._on_task_end)

    def admit(self, record: SourceRecord) -> None:
        """Take the next record of its partition; never blocks. When the stage is `full`, await `room` first."""
        ledger = self._ledgers.setdefault(record.tp, Ledger())
        draft = self._outcomes.draft(record, self._parts.clock.unix_ms())
        self._intake.append(Work(draft, ledger, ledger.admit(record.offset, record.ack)))
        self._admitted_some.set()

    @property
    def full(self) -> bool:
        """Whether `pool_posts` records wait."""
        return self.waiting >= self._settings.pool_posts

    async def room(self) -> None:
        """Return when an eighth of a full pool is settled.

        Not one record for each that leaves: what is read, decoded and tokenized in one go costs less of each.
        """
        limit = self._settings.pool_posts
        async with self._settled:
            await self._settled.wait_for(lambda: self.waiting <= limit - limit // 8 - 1)

    @property
    def waiting(self) -> int:
        """Records read and without an outcome in Kafka."""
        return sum(map(len, self._ledgers.values()))

    def revoke(self, partitions: Iterable[TopicPartition]) -> None:
        """Forget partitions that go to another worker; their records are read again there."""
        for tp in partitions:
            ledger = self._ledgers.pop(tp, None)
            if ledger is not None:
                ledger.revoked = True
        self._intake = [work for work in self._intake if not work.ledger.revoked]
        self._pool.discard(lambda unit: unit.work.ledger.revoked)
        self._finished_some.set()

    async def drain(self, timeout_s: float) -> bool:
        """Wait until every record read has its outcome in Kafka; False when `timeout_s` was not enough."""
        async with self._settled:
            try:
                await asyncio.wait_for(self._settled.wait_for(lambda: self.waiting == 0), timeout_s)
            except TimeoutError:
                return False
        return True

    async def aclose(self) -> None:
        """Stop at once; what has no outcome is read again by the next worker."""
        await cancel(self._tasks)
        self._threads.shutdown(wait=False, cancel_futures=True)
        await self._parts.inference.aclose()

    def _on_task_end(self, task: asyncio.Task[None]) -> None:
        if not task.cancelled() and not self.failed.done():
            self.failed.set_exception(task.exception() or RuntimeError("a stage ended by itself"))

    def _set_outage(self, outage: bool) -> None:
        self._model_away = outage

    async def _work(
        self, stage: str, function: Callable[[Sequence[Any]], Any], posts: Sequence[Any], *, few: bool
    ) -> Any:
        """`function(posts)`, in a thread unless they are few."""
        with STAGE_SECONDS.labels(stage=stage).time():
            if few:
                return function(posts)
            return await asyncio.get_running_loop().run_in_executor(self._threads, function, posts)

    # prepare -------------------------------------------------------------------------------------------------------

    async def _prepare_loop(self) -> None:
        while True:
            await self._admitted_some.wait()
            chunk, self._intake = self._intake[:PREPARE_CHUNK], self._intake[PREPARE_CHUNK:]
            if not self._intake:
                self._admitted_some.clear()
            await self._work("prepare", self._prepare, chunk, few=_few(chunk))
            now_s = self._parts.clock.monotonic_s()
            units: list[Unit] = []
            for work in chunk:
                if work.slot.outcome is None and work.prepared is not None and not work.ledger.revoked:
                    units += [Unit(work, at, window, now_s) for at, window in enumerate(work.prepared.windows)]
            self._wait_or_answer(units)
            self._prepared_some.set()
            self._finished_some.set()

    def _wait_or_answer(self, units: Sequence[Unit]) -> None:
        """Windows that were answered before need not wait for a batch."""
        known: list[Unit] = []
        answers: list[Logits] = []
        for unit in units:
            answer = self._asking.known(unit)
            if answer is None:
                self._pool.add(unit)
            else:
                known.append(unit)
                answers.append(answer)
        if complete := collect(known, answers):
            self._answered.put_nowait(complete)

    def _prepare(self, chunk: Sequence[Work]) -> None:
        """Decode and tokenize; sets `prepared` or, for a tombstone or a bad record, the outcome."""
        posts = [work for work in chunk if self._outcomes.decode(work.draft, work.slot)]
        texts = [(work.draft.text, work.draft.hint) for work in posts]
        for work, prepared in zip(posts, self._parts.preparer.prepare_many(texts), strict=True):
            if isinstance(prepared, BadRecord):
                work.slot.outcome = self._outcomes.dead(work.draft, prepared)
            else:
                work.prepared = prepared
                work.left = len(prepared.windows)
                work.answers = [None] * work.left

    # infer and decode ----------------------------------------------------------------------------------------------

    async def _infer_loop(self) -> None:
        while True:
            units = await self._next_batch()
            self._in_flight += 1
            with STAGE_SECONDS.labels(stage="infer").time():
                answers = await self._recovery.answers(units)
            self._in_flight -= 1
            self._answered.put_nowait(collect(units, answers))

    async def _decode_loop(self) -> None:
        """Apart from the calls, so that the model has its next batch before the last one is decoded."""
        while True:
            complete = await self._answered.get()
            few = _few([work for work, _ in complete])
            analysed = await self._work("decode", self._decoding.analysed, complete, few=few)
            self._analysed.put_nowait(analysed)
            self._finished_some.set()

    async def _story_loop(self) -> None:
        """One round trip for all that was decoded during the last one."""
        while True:
            analysed = await self._analysed.get()
            while not self._analysed.empty():
                analysed = analysed + self._analysed.get_nowait()
            if analysed:
                stories = await self._storyteller.stories([each.candidate for each in analysed])
                with STAGE_SECONDS.labels(stage="encode").time():
                    self._decoding.finish(analysed, stories, self._parts.clock.unix_ms())
                self._finished_some.set()

    async def _next_batch(self) -> list[Unit]:
        """The next batch; one that is not full, and would take the last free call, waits `pool_wait_ms` for company.

        While the model has time for more than that, company would only make it late.
        """
        while True:
            oldest = self._pool.oldest
            if oldest is None:
                self._prepared_some.clear()
                await self._prepared_some.wait()
                continue
            waited_s = self._parts.clock.monotonic_s() - oldest.since_s
            left_s = self._settings.pool_wait_ms / 1000 - waited_s
            has_time = self._in_flight < self._settings.batches_in_flight - 1
            if has_time or left_s <= 0 or len(self._pool) >= self._settings.batch_posts:
                return self._pool.take(self._budget)
            await asyncio.sleep(left_s)

    # publish -------------------------------------------------------------------------------------------------------

    async def _publish_loop(self) -> None:
        while True:
            await self._finished_some.wait()
            self._finished_some.clear()
            ready = [(tp, ledger) for tp, ledger in self._ledgers.items() if ledger.ready]
            await asyncio.gather(*(self._settle(tp, ledger) for tp, ledger in ready))
            WAITING.set(self.waiting)
            async with self._settled:
                self._settled.notify_all()

    async def _settle(self, tp: TopicPartition, ledger: Ledger[OutputRecord]) -> None:
        with STAGE_SECONDS.labels(stage="publish").time():
            await settle(ledger, partial(self._publish, self._parts.routes.output_partition(tp)))

    async def _publish(self, partition: int, records: Sequence[OutputRecord]) -> None:
        self._limits.check(records, self._parts.routes.dead_letters_topic)
        await self._parts.publisher.publish(partition, records)
        self._outcomes.count(records, self._parts.clock.unix_ms())


def _few(works: Sequence[Work]) -> bool:
    """Whether what is done for them would not hold up the event loop."""
    return len(works) <= FEW_POSTS and sum(work.draft.size_bytes for work in works) <= FEW_BYTES
