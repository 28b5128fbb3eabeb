"""The demo: start everything, replay the samples through the worker, and say what came of it. Nothing stays behind."""

from __future__ import annotations

import asyncio
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

from worker.entities.table import load_aliases
from worker.errors import ConfigInvalid, PolyvoxError
from worker.feeds.produce import Watch, produce
from worker.feeds.records import BadRow, open_feed
from worker.feeds.topics import ensure_topics
from worker.local.environment import REPOSITORY
from worker.local.outcomes import Observer
from worker.local.process import log_tail
from worker.local.report import Report, histogram_quantiles_ms, quantiles
from worker.local.samples import Sample, age_of, find_samples, moved
from worker.local.stack import Addresses, StackOptions, running_stack
from worker.local.worker import WorkerProcess, get, running_worker, variables
from worker.opinion.answers import Totals, Window
from worker.opinion.cells import Measures
from worker.opinion.client import Link
from worker.opinion.queries import Queries
from worker.opinion.reader import RedisReader
from worker.settings import Settings, load_settings

INPUTS = {"posts.social": "social", "posts.financial": "financial"}
TICK_S = 0.2
TOP_ENTITIES = 10


@dataclass(frozen=True)
class DemoOptions:
    """How the demo runs.

    Attributes:
        samples: a directory with files as `find_samples` expects them.
        outstanding: records sent and without an outcome, at most: what is measured is the pipeline's latency, not that
            of a backlog.
        stall_s: no outcome for so long ends the demo with an error.
        stack: ports, directories, and the one model that a worker calls.
    """

    samples: Path = REPOSITORY / "samples"
    outstanding: int = 256
    stall_s: float = 60.0
    stack: StackOptions = field(default_factory=lambda: StackOptions(model_names=("analyzer",)))


@dataclass(frozen=True, slots=True)
class Tick:
    """How far the replay is, in records."""

    total: int
    sent: int
    analysed: int
    dead_lettered: int
    seconds: float


@dataclass(frozen=True)
class Listener:
    """What is told while the demo runs: steps in words, and the state of the replay some times a second."""

    step: Callable[[str], None]
    tick: Callable[[Tick], None]


def run_demo(options: DemoOptions, listener: Listener) -> Report:
    """Run the demo to its end; afterwards, also after an exception, nothing of it runs.

    Raises:
        ConfigInvalid: the samples cannot be read.
        PlatformUnsupported: this machine lacks something that the local stack needs.
        PolyvoxError: a server or the worker failed, or made no progress; with the end of the worker's log.
    """
    samples = find_samples(options.samples)
    with (
        tempfile.TemporaryDirectory(prefix="polyvox-demo-", ignore_cleanup_errors=True) as directory,
        running_stack(options.stack, listener.step) as addresses,
    ):
        environment = demo_variables(addresses, options.stack.models_dir)
        settings = load_settings(**{name.removeprefix("POLYVOX_").lower(): each for name, each in environment.items()})
        ensure_topics(settings)
        log = Path(directory) / "worker.log"
        with running_worker(environment, log, listener.step) as worker, Observer(settings) as observer:
            return Replay(options, settings, worker, observer, listener).run(samples)


def demo_variables(addresses: Addresses, models_dir: Path) -> dict[str, str]:
    """The worker's settings: the local servers, and what the demo relies on whatever this shell has set."""
    return variables(addresses) | {
        "POLYVOX_ROLE": "all",
        "POLYVOX_APP_ID": "polyvox-demo",
        "POLYVOX_INPUT_TOPICS": ",".join(f"{topic}={source_class}" for topic, source_class in INPUTS.items()),
        "POLYVOX_START_AT": "earliest",
        "POLYVOX_INFERENCE": "triton",
        "POLYVOX_MODELS_DIR": str(models_dir.resolve()),
        "POLYVOX_HEALTH_HOST": "127.0.0.1",
        "POLYVOX_HEALTH_PORT": "0",
    }


@dataclass
class Replay:
    """One replay of the samples against a running worker."""

    options: DemoOptions
    settings: Settings
    worker: WorkerProcess
    observer: Observer
    listener: Listener
    total: int = 0
    sent: int = 0
    tombstones: int = 0
    progress_s: float = 0.0
    progress_count: int = -1
    started_s: float = field(default_factory=time.monotonic)

    def run(self, samples: list[Sample]) -> Report:
        """Send everything, wait for every outcome and for the aggregates, and read the result back."""
        self.total = sum(sample.count() for sample in samples)
        age = age_of(samples, datetime.now(UTC))
        self.listener.step(f"replay: {self.total} records from {self.options.samples}, the newest as of now")
        for sample in samples:
            self._send(sample, age)
        self._wait(lambda: self.observer.outcomes.count >= self.sent)
        seconds = time.monotonic() - self.started_s
        self._wait(lambda: asyncio.run(_totals(self.settings)).received >= self.sent)
        return self._report(seconds)

    def _send(self, sample: Sample, age: timedelta) -> None:
        base = self.sent

        def pace(sent: int) -> None:
            self.sent = base + sent
            self._wait(lambda: self.sent - self.observer.outcomes.count < self.options.outstanding)

        def refuse(row: BadRow) -> None:
            raise ConfigInvalid(f"{sample.path}:{row.line}: {row.reason}: {row.detail}")

        with open_feed(str(sample.path), check=sample.check) as feed:
            rows = feed.rows if sample.check == "raw" else moved(feed.rows, age)
            counts = produce(self.settings, sample.topic, rows, Watch(problem=refuse, pace=pace))
        self.sent = base + counts.sent
        self.tombstones += counts.tombstones

    def _wait(self, done: Callable[[], bool]) -> None:
        """Return when `done`, telling the listener how far the replay is.

        Raises:
            PolyvoxError: the worker ended, or no outcome came for `stall_s`.
        """
        while not done():
            self.observer.wait(TICK_S)
            self.worker.require_running()
            self._require_progress()
            outcomes = self.observer.outcomes
            seconds = time.monotonic() - self.started_s
            self.listener.tick(Tick(self.total, self.sent, outcomes.analysed, outcomes.dead_lettered, seconds))

    def _require_progress(self) -> None:
        now_s, count = time.monotonic(), self.observer.outcomes.count + self.sent
        if count != self.progress_count:
            self.progress_count, self.progress_s = count, now_s
        elif now_s - self.progress_s > self.options.stall_s:
            outcomes = self.observer.outcomes
            raise PolyvoxError(
                f"nothing happened for {self.options.stall_s:.0f} s: of {self.sent} records {outcomes.analysed} were "
                f"analysed, {outcomes.dead_lettered} dead-lettered. The end of the worker's log:\n"
                f"{log_tail(self.worker.log)}"
            )

    def _report(self, seconds: float) -> Report:
        outcomes = self.observer.outcomes
        status, exposition = get(self.worker.health, "/metrics")
        if status != 200:
            raise PolyvoxError(f"http://{self.worker.health}/metrics answered {status}: {exposition}")
        opinions = asyncio.run(_opinions(self.settings, self.observer))
        return Report(
            produced=self.sent - self.tombstones,
            analysed=outcomes.analysed,
            dead_lettered=outcomes.dead_lettered,
            tombstones=outcomes.tombstones,
            seconds=seconds,
            model=", ".join(sorted(outcomes.models)),
            languages=dict(outcomes.languages.most_common()),
            flags=dict(outcomes.flags.most_common()),
            dead_letter_reasons=dict(outcomes.reasons.most_common()),
            enriched_ms=quantiles(outcomes.latencies_ms),
            aggregated_ms=histogram_quantiles_ms(
                exposition, "polyvox_outcome_latency_seconds", {"stage": "aggregated"}
            ),
            by_language=opinions.by_language,
            by_topic={outcomes.topics.get(topic, topic): found for topic, found in opinions.by_topic.items()},
            top_entities=opinions.top_entities,
            totals=opinions.totals,
        )


@dataclass(frozen=True)
class _Opinions:
    """What the aggregates say."""

    by_language: dict[str, Measures]
    by_topic: dict[str, Measures]
    top_entities: list[tuple[str, Measures]]
    totals: Totals


async def _totals(settings: Settings) -> Totals:
    link = Link.of(settings)
    try:
        return await Queries(RedisReader(link), settings).totals()
    finally:
        await link.aclose()


async def _opinions(settings: Settings, observer: Observer) -> _Opinions:
    """Read the aggregates of the days that the samples lie in."""
    outcomes = observer.outcomes
    link = Link.of(settings)
    queries = Queries(RedisReader(link), settings, name_of=load_aliases().name_of)
    try:
        if outcomes.first_event is None or outcomes.last_event is None:
            return _Opinions({}, {}, [], await queries.totals())
        window = Window("day", outcomes.first_event, outcomes.last_event + timedelta(seconds=1))
        entities = await queries.top_entities(window, TOP_ENTITIES)
        return _Opinions(
            {language: found for (language,), found in (await queries.breakdown(window, ("language",))).items()},
            {topic: found for (topic,), found in (await queries.breakdown(window, ("topic",))).items()},
            [(entity.name, entity.measures) for entity in entities.entities],
            await queries.totals(),
        )
    finally:
        await link.aclose()
