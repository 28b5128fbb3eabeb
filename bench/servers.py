"""The servers of one comparison and what its contenders share: the loaded input topics, a directory, the reader."""

from __future__ import annotations

import asyncio
import contextlib
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from uuid import uuid4

import msgspec

from bench.cpu import Meter, Trace, own_process
from bench.jobs import Pump
from bench.kafka import completion_times_s, load
from bench.measure import Progress, progress_of
from bench.texts import FINANCIAL, SOCIAL, inputs, record
from tests.apache_kafka.broker import Unavailable, running_broker
from worker.errors import ConfigInvalid, PolyvoxError
from worker.feeds.topics import ensure_topics
from worker.local.process import Guarded, Launch, log_tail
from worker.local.servers import ServerName
from worker.local.stack import ALL_SERVERS, Addresses, StackOptions, running_stack
from worker.local.worker import variables
from worker.settings import REPOSITORY, Settings, load_settings

Say = Callable[[str], None]

APACHE = "Apache Kafka"
OF_TANSU = ("REBALANCE_TIMEOUT_S", "SESSION_TIMEOUT_S", "FETCH_WAIT_MS", "IDEMPOTENCE")
"""Settings that the packaged broker needs; Apache Kafka gets the defaults."""


@dataclass(frozen=True)
class Kafka:
    """The broker of the whole run; no address: every scene starts the packaged one."""

    name: str
    address: str = ""


@dataclass(frozen=True)
class Ground:
    """What all scenes of a run have in common; `models` is the repository that Triton runs `analyzer` of."""

    kafka: Kafka
    models: Path
    samples: Path
    say: Say


@dataclass(frozen=True)
class Scene:
    """Running servers, with posts waiting in the input topics.

    Attributes:
        prefix: what the names of this scene's topics begin with.
        directory: for logs and results; gone at the end.
        count: the posts in the topics that a worker reads.
        copied: the posts in the topics that bare loops read, which are through in no time.
    """

    ground: Ground
    prefix: str
    addresses: Addresses
    directory: Path
    count: int
    copied: int

    def variables(self, topics: str = "posts", partitions: int = 4) -> dict[str, str]:
        """A worker's environment: a group and output topics of its own, so that each run reads everything anew."""
        run = f"{self.prefix}-{uuid4().hex[:8]}"
        servers = variables(self.addresses)
        if self.ground.kafka.address:
            servers = {name: value for name, value in servers.items() if not name.endswith(OF_TANSU)}
        return servers | {
            "POLYVOX_APP_ID": run,
            "POLYVOX_INPUT_TOPICS": ",".join(f"{self.topic(topics, each)}={each}" for each in (SOCIAL, FINANCIAL)),
            "POLYVOX_PARTITIONS": str(partitions),
            "POLYVOX_ENRICHED_TOPIC": f"{run}.enriched",
            "POLYVOX_DEAD_LETTERS_TOPIC": f"{run}.dead",
            "POLYVOX_START_AT": "earliest",
            "POLYVOX_INFERENCE": "triton",
            "POLYVOX_SEEN_WINDOWS_MB": "0",  # later rounds repeat the texts of the first: each must be inferred
            "POLYVOX_MODELS_DIR": str(self.ground.models),
            "POLYVOX_HEALTH_HOST": "127.0.0.1",
            "POLYVOX_HEALTH_PORT": "0",
        }

    @property
    def bundle(self) -> str:
        """The directory of the model."""
        return str(self.ground.models / "analyzer" / "1")

    def topic(self, topics: str, source_class: str) -> str:
        """The input topic of a source class."""
        return f"{self.prefix}.{topics}.{source_class}"

    def fill(self, topics: str, count: int, partitions: int = 4) -> None:
        """Make input topics and load posts into them."""
        self.ground.say(f"loading {count} posts")
        ensure_topics(as_settings(self.variables(topics, partitions)))
        name = f"{self.prefix}.{topics}"
        asyncio.run(load(self.addresses.kafka, (record(name, one) for one in inputs(self.ground.samples, count))))

    def published(self, settings: Settings, count: int) -> Progress:
        """The progress of a run of `count` posts that is over, from the timestamps in its output topic."""
        partitions = settings.partitions * len(settings.input_topics)
        return self._progress(settings.kafka_brokers, settings.enriched_topic, partitions, count)

    def output(self, topics: str, count: int) -> Pump:
        """A job for whatever reads `count` posts and writes as many records, into a topic of its own."""
        settings = as_settings(self.variables(topics))
        ensure_topics(settings)
        return Pump(
            settings.kafka_brokers, list(settings.input_topics), settings.enriched_topic, count, settings.app_id
        )

    def read(self, pump: Pump) -> Progress:
        """The progress of a job that is over."""
        partitions = Settings.model_fields["partitions"].default * len(pump.inputs)
        return self._progress(pump.brokers, pump.output, partitions, pump.count)

    def _progress(self, brokers: str, topic: str, partitions: int, count: int) -> Progress:
        return progress_of(asyncio.run(completion_times_s(brokers, topic, partitions, count)))

    def meter(self, *pids: int) -> Meter:
        """Samples the processor time of these processes, and of Triton."""
        return Meter({"contender": pids, "triton": [own_process("tritonserver")]})

    def run_program(
        self, name: str, job: msgspec.Struct, *options: str, python: str = sys.executable
    ) -> dict[str, Trace]:
        """Run a contender to its end; it ends with this process at the latest. Its processor time.

        Raises:
            PolyvoxError: it failed; with the end of its log.
        """
        log = self.directory / f"{name}.log"
        command = (python, "-m", f"bench.contenders.{name}", msgspec.json.encode(job).decode(), *options)
        program = Guarded(Launch(command, REPOSITORY, log))
        try:
            with self.meter(_started(program)) as meter:
                status = program.wait()
        finally:
            program.stop()
        if status != 0:
            raise PolyvoxError(f"{name} ended with status {status}. The end of its log:\n{log_tail(log)}")
        return dict(meter.traces)


def _started(program: Guarded) -> int:
    """The process id of a program whose guard may not have forked yet.

    Raises:
        PolyvoxError: it ended at once.
    """
    while program.ended() is None:
        with contextlib.suppress(ProcessLookupError):
            return program.pid
        time.sleep(0.01)
    raise PolyvoxError(f"{program.launch.command[2]} ended at once:\n{log_tail(program.launch.log)}")


def rival_python(name: str) -> str:
    """The interpreter of a rival's own environment.

    Raises:
        ConfigInvalid: there is none.
    """
    python = REPOSITORY / f".venv-bench-{name}" / "bin" / "python"
    if not python.exists():
        raise ConfigInvalid(f"{python} is missing: run `make bench`, or `make .venv-bench-{name}/.installed` once")
    return str(python)


def as_settings(environment: dict[str, str]) -> Settings:
    """The settings that a worker with this environment has."""
    return load_settings(**{name.removeprefix("POLYVOX_").lower(): value for name, value in environment.items()})


@contextlib.contextmanager
def running_kafka(say: Say) -> Iterator[Kafka]:
    """Apache Kafka where a JDK and Maven are; elsewhere the broker of the packages, and the page says so."""
    with contextlib.ExitStack() as held:
        directory = held.enter_context(tempfile.TemporaryDirectory(prefix="polyvox-kafka-", ignore_cleanup_errors=True))
        try:
            kafka = Kafka(APACHE, held.enter_context(running_broker(Path(directory))))
        except Unavailable as why:
            say(f"no Apache Kafka: {why}")
            kafka = Kafka("the packaged broker (Tansu), since Apache Kafka could not be had")
        yield kafka


@contextlib.contextmanager
def scene(
    ground: Ground, count: int = 0, copied: int = 0, models: tuple[str, ...] | None = ("analyzer",)
) -> Iterator[Scene]:
    """Start Redis and Triton beside Kafka, and load the input topics; `models` None: all of the repository."""
    servers: tuple[ServerName, ...] = ("redis", "triton") if ground.kafka.address else ALL_SERVERS
    with (
        tempfile.TemporaryDirectory(prefix="polyvox-bench-", ignore_cleanup_errors=True) as directory,
        running_stack(StackOptions(servers, ground.models, models), ground.say) as started,
    ):
        addresses = replace(started, kafka=ground.kafka.address or started.kafka)
        made = Scene(ground, f"bench-{uuid4().hex[:6]}", addresses, Path(directory), count, copied)
        if count:
            made.fill("posts", count)
        if copied:
            made.fill("copied", copied)
        yield made
