"""The stages of one process, from connecting to closing."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Protocol, TypeVar

from worker.analysis.bundle import Bundle
from worker.analysis.choice import make_inference
from worker.analysis.prepare import Preparer
from worker.entities.link import Linker
from worker.entities.table import load_aliases
from worker.errors import Transient
from worker.feeds.topics import ensure_topics, topic_ids
from worker.opinion.answer_store import RedisAnswers
from worker.opinion.client import Link
from worker.opinion.store import AggregateStore
from worker.opinion.stories import RedisStories
from worker.settings import Settings
from worker.stream.aggregate import AggregateParts, AggregateStage
from worker.stream.batches import with_measured_batches
from worker.stream.collector import lasting
from worker.stream.ending import cancel, end_process_of
from worker.stream.enrich import EnrichParts, EnrichStage
from worker.stream.kafka import KafkaPublisher
from worker.stream.login import log_in
from worker.stream.records import Routes, SourceRecord, TopicPartition
from worker.stream.recreated import check_start_ids, watch_ids
from worker.stream.shared_answers import SharedAnswers
from worker.stream.shifts import Shifts
from worker.stream.watching import open_shifts
from worker.telemetry import Log, get_logger
from worker.text.language import Identifier
from worker.timing import Backoff, SystemClock

Result = TypeVar("Result")

STOP_DRAIN_S = 10.0
REVOKE_DRAIN_S = 2.0


class Stage(Protocol):
    """What Faust's agents hand records to."""

    failed: asyncio.Future[None]

    @property
    def outage(self) -> bool: ...
    @property
    def full(self) -> bool: ...
    def admit(self, record: SourceRecord) -> None: ...
    async def room(self) -> None: ...
    def revoke(self, partitions: Iterable[TopicPartition]) -> None: ...
    async def drain(self, timeout_s: float) -> bool: ...
    async def start(self) -> None: ...
    async def aclose(self) -> None: ...


@dataclass(frozen=True)
class Knowledge:
    """What the enrich stage knows before the first post."""

    bundle: Bundle
    identifier: Identifier
    linker: Linker

    @classmethod
    def load(cls, settings: Settings) -> Knowledge:
        """Read it from files, a second's work: call it in a thread.

        Raises:
            ModelInvalid: as `Bundle.load`.
        """
        with lasting():
            return cls(Bundle.load(settings.bundle_dir), Identifier(), Linker(load_aliases()))


class Stages:
    """The stages that the settings' role names, by name: `enrich`, `aggregate`."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._by_name: dict[str, Stage] = {}
        self._aggregate: AggregateStage | None = None
        self._shifts: Shifts | None = None
        self._closers: list[Callable[[], Awaitable[None]]] = []
        self._waits_for = "the start"
        self._in_group = False
        self.assigned: set[TopicPartition] = set()

    async def open(self) -> None:
        """Connect and start; waits, retrying, for servers that are away.

        Raises:
            ConfigInvalid, ModelInvalid: waiting does not help.
        """
        settings, clock = self._settings, SystemClock()
        link = Link.of(settings)
        store = AggregateStore(link, settings)
        if settings.role in ("enrich", "all"):
            knowledge, routes = await asyncio.gather(asyncio.to_thread(Knowledge.load, settings), self._meet(link))
            await self._open_enrich(knowledge, routes, store, RedisStories(link, settings))
        else:
            routes = await self._meet(link)
        if settings.role in ("aggregate", "all"):
            self._aggregate = AggregateStage(AggregateParts(routes, store, clock), settings)
            self._by_name["aggregate"] = self._aggregate
        for name, stage in self._by_name.items():
            self._waits_for = f"{name}: its server does not answer"
            await _patiently(name, stage.start)
            stage.failed.add_done_callback(end_process_of)
        self._waits_for = "partitions"
        self._closers.append(store.aclose)
        if self._aggregate is not None:
            self._shifts = await open_shifts(settings, routes, lambda: any(self.outages.values()))
            self._shifts.failed.add_done_callback(end_process_of)
            self._closers.insert(0, self._shifts.aclose)

    async def _meet(self, link: Link) -> Routes:
        """The first contact with Kafka: login, topics, and what they are."""
        settings = self._settings
        await _patiently("Kafka", lambda: log_in(settings))
        created = await _patiently("Kafka", lambda: asyncio.to_thread(ensure_topics, settings))
        if created:
            get_logger().info(Log.TOPICS_CREATED, topics=created)
        return Routes(
            settings.input_topics,
            await self._topic_ids(link),
            settings.enriched_topic,
            settings.dead_letters_topic,
            settings.max_record_bytes,
        )

    async def _topic_ids(self, link: Link) -> dict[str, str]:
        """The ids of the input topics, which are those of the first start, and are watched from now on."""
        look_up = partial(asyncio.to_thread, topic_ids, self._settings)
        ids = await _patiently("Kafka", look_up)
        await _patiently("Redis", lambda: check_start_ids(link, self._settings, ids))
        watch = asyncio.create_task(watch_ids(ids, look_up))
        watch.add_done_callback(end_process_of)
        self._closers.append(partial(cancel, [watch]))
        return ids

    async def _open_enrich(
        self, knowledge: Knowledge, routes: Routes, store: AggregateStore, stories: RedisStories
    ) -> None:
        bundle = knowledge.bundle
        settings = await asyncio.to_thread(with_measured_batches, self._settings, bundle.model.version)
        publisher = await _patiently("Kafka", lambda: KafkaPublisher.connect(settings))
        self._closers.append(publisher.aclose)
        parts = EnrichParts(
            routes=routes,
            bundle=bundle,
            preparer=Preparer(bundle, knowledge.identifier, settings.max_windows),
            inference=make_inference(settings, bundle),
            publisher=publisher,
            strike=store.strike,
            stories=stories,
            clock=SystemClock(),
            linker=knowledge.linker,
            shared=self._shared_answers(bundle),
        )
        self._by_name["enrich"] = EnrichStage(parts, settings)

    def _shared_answers(self, bundle: Bundle) -> SharedAnswers | None:
        """None by default: see `shared_answers_s`."""
        if not self._settings.shared_answers_s:
            return None
        link = RedisAnswers.link_of(self._settings)
        self._closers.append(link.aclose)
        return SharedAnswers(RedisAnswers(link, self._settings.shared_answers_s), bundle, SystemClock())

    async def positions(self, assigned: list[TopicPartition]) -> Mapping[TopicPartition, int | None]:
        """Where the aggregate stage reads on; see `AggregateStage.positions`."""
        stage = self._aggregate
        return await _patiently("Redis", lambda: stage.positions(assigned)) if stage and assigned else {}

    def stage(self, name: str) -> Stage:
        """A stage that `open` started."""
        return self._by_name[name]

    def readiness(self) -> str | None:
        """None when records flow; otherwise what is missing.

        A worker of a group with fewer partitions than workers has none and is ready: rolling upgrades wait for it.
        """
        if not self._by_name or not self._in_group:
            return f"waiting for {self._waits_for}"
        away = [name for name, outage in self.outages.items() if outage]
        return f"{', '.join(away)}: a server does not answer" if away else None

    @property
    def outages(self) -> dict[str, bool]:
        """Of each stage that runs, whether a server is known to be away."""
        return {name: stage.outage for name, stage in self._by_name.items()}

    async def settle_shortly(self) -> None:
        """Before a rebalance: settle what can be settled in a moment, so that little is read twice."""
        for stage in self._by_name.values():
            if not stage.outage:
                await stage.drain(REVOKE_DRAIN_S)

    def assign(self, partitions: set[TopicPartition]) -> None:
        """Take the partitions that the group gave, of which there may be none."""
        self.assigned, self._in_group = partitions, True

    def forget(self) -> None:
        """Drop what is not settled: other workers read it again."""
        for stage in self._by_name.values():
            stage.revoke(self.assigned)
        self.assigned, self._in_group = set(), False

    async def drain(self) -> None:
        """Before a stop: settle everything that was read, unless a server is away."""
        for stage in self._by_name.values():
            if not stage.outage:
                await stage.drain(STOP_DRAIN_S)

    async def aclose(self) -> None:
        """Stop the stages and disconnect."""
        for close in [*(stage.aclose for stage in self._by_name.values()), *self._closers]:
            await close()
        self._by_name, self._closers = {}, []


async def _patiently(target: str, call: Callable[[], Awaitable[Result]]) -> Result:
    """Call until it does not fail transiently."""
    backoff = Backoff(base_s=0.2)
    while True:
        try:
            return await call()
        except Transient as error:
            if backoff.attempts == 0:
                get_logger().warning(Log.WAITING_FOR_SERVER, target=target, error=str(error))
            await asyncio.sleep(backoff.next_s())
