"""The demo: start everything, replay the samples through the worker, and say what came of it. Nothing stays behind."""

from __future__ import annotations

import asyncio
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path

from worker.errors import PolyvoxError
from worker.feeds.produce import Watch, produce
from worker.feeds.topics import ensure_topics
from worker.local.opinions import opinions, received, windows_are_read
from worker.local.outcomes import Observer
from worker.local.process import log_tail
from worker.local.replay import Replayed, plan
from worker.local.report import Report, histogram_quantiles_ms, quantiles
from worker.local.samples import age_of, find_samples
from worker.local.stack import Addresses, StackOptions, running_stack
from worker.local.worker import WorkerProcess, get, running_worker, variables
from worker.settings import REPOSITORY, Settings, load_settings

INPUTS = {"posts.social": "social", "posts.financial": "financial"}
TICK_S = 0.2


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
            replayed = plan(samples, age_of(samples, datetime.now(UTC)))
            return Replay(options, settings, worker, observer, listener).run(replayed)


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
        "POLYVOX_ALERT_WINDOW": "five_minutes",
        "POLYVOX_ALERT_SETTLING_S": "60",
        "POLYVOX_ALERT_WARM_UP_S": "5400",  # half of the time that the samples cover
        "POLYVOX_ALERT_WEBHOOKS": "",
        "POLYVOX_SECRETS_DIR": "",
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

    def run(self, replayed: Replayed) -> Report:
        """Send everything, wait for every outcome, the aggregates and the alerts, and read the result back."""
        self.total = len(replayed.rows)
        self.listener.step(f"replay: {self.total} records from {self.options.samples}, the newest as of now")
        if replayed.planted_at is not None:
            self.listener.step(f"replay: a shift is planted: bad news from {replayed.planted_at:%H:%M} UTC on")
        counts = produce(self.settings, next(iter(INPUTS)), iter(replayed.rows), Watch(pace=self._pace))
        self.sent, self.tombstones = counts.sent, counts.tombstones
        self._wait(lambda: self.observer.outcomes.count >= self.sent)
        seconds = time.monotonic() - self.started_s
        self._wait(lambda: asyncio.run(received(self.settings)) >= self.sent)
        self.listener.step("alerts: reading the windows that have settled")
        self._wait(lambda: asyncio.run(windows_are_read(self.settings)))
        return self._report(seconds, replayed.planted_at)

    def _pace(self, sent: int) -> None:
        self.sent = sent
        self._wait(lambda: self.sent - self.observer.outcomes.count < self.options.outstanding)

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

    def _report(self, seconds: float, planted_at: datetime | None) -> Report:
        outcomes = self.observer.outcomes
        status, exposition = get(self.worker.health, "/metrics")
        if status != 200:
            raise PolyvoxError(f"http://{self.worker.health}/metrics answered {status}: {exposition}")
        found = asyncio.run(opinions(self.settings, outcomes, planted_at))
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
            topic_names=dict(outcomes.topics),
            opinions=replace(
                found, by_topic={outcomes.topics.get(topic, topic): each for topic, each in found.by_topic.items()}
            ),
            planted_at=planted_at,
        )
