"""One deployment under test: its own topics and groups, its workers, what went in, and the audit of what came out."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from uuid import uuid4

from kafka import KafkaConsumer, KafkaProducer, TopicPartition

from bench.null import FAST_MODEL
from tests.fault import store
from tests.fault.posts import Made
from tests.fault.process import DEADLINE_S, POLL_S, RUN, Process
from tests.fault.row import Figures, Trial, hold
from worker.errors import Transient
from worker.feeds.lag import lag
from worker.feeds.topics import ensure_topics
from worker.local.process import log_tail
from worker.local.stack import Addresses
from worker.local.worker import variables
from worker.opinion.answers import Totals
from worker.settings import Settings, load_settings
from worker.timing import SystemClock
from worker.verify.report import Report
from worker.verify.run import verify

PARTITIONS = 3


@dataclass
class Line:
    """Topics, workers and counts of one trial.

    Args:
        variables: what it is, as an environment.
        told: what its workers are told instead, such as the address of a proxy.
        directory: for logs.
        root: the checkout whose workers run.
    """

    variables: dict[str, str]
    told: dict[str, str]
    directory: Path
    root: Path
    workers: list[Process] = field(default_factory=list)
    produced: int = 0
    _started: int = 0

    @property
    def settings(self) -> Settings:
        """What it is, as settings."""
        return load_settings(**{name.removeprefix("POLYVOX_").lower(): value for name, value in self.variables.items()})

    def start(self, *program: str, **options: str) -> Process:
        """Start one more worker; `program` are Python's arguments in place of the worker's own."""
        self._started += 1
        log = self.directory / f"{self.variables['POLYVOX_APP_ID']}-{self._started}.log"
        environment = self.variables | self.told | {f"POLYVOX_{name.upper()}": value for name, value in options.items()}
        worker = Process(environment, log, self.root, program or RUN)
        self.workers.append(worker)
        return worker

    def replace_ended(self) -> int:
        """Start a new worker for each that ended, as a supervisor does; how many."""
        ended = [worker for worker in self.workers if worker.ended() is not None]
        for worker in ended:
            self.workers.remove(worker)
            self.start()
        return len(ended)

    def kill(self, worker: Process) -> None:
        """SIGKILL one worker."""
        worker.kill()
        self.workers.remove(worker)

    def stop(self) -> float:
        """SIGTERM all workers, one after the other; the longest time that one took.

        One that has only just been started is let come to its handlers first: before, a signal simply ends it.

        Raises:
            Broken: one ended otherwise than with 0 in time.
        """
        self.wait(lambda: all(worker.health for worker in self.workers), "every worker started")
        longest_s = max((worker.stop() for worker in self.workers), default=0.0)
        self.workers.clear()
        return longest_s

    def send(self, records: Iterable[Made], partition: int | None = None) -> list[tuple[Made, str, int, int]]:
        """Send to both input topics in turn; each record and where it came to lie."""
        producer = KafkaProducer(bootstrap_servers=self.settings.kafka_brokers, linger_ms=20, batch_size=131_072)
        topics = list(self.settings.input_topics)
        sent = [
            (made, producer.send(topics[number % 2], made.value, key=b"%d" % number, partition=partition))
            for number, made in enumerate(records)
        ]
        producer.flush()
        producer.close()
        self.produced += len(sent)
        places = [(made, future.get(10)) for made, future in sent]
        return [(made, at.topic, at.partition, at.offset) for made, at in places]

    def published(self) -> int:
        """Records in `enriched` and `dead-letters`."""
        settings = self.settings
        with _consumer(settings) as client:
            topics = (settings.enriched_topic, settings.dead_letters_topic)
            places = [TopicPartition(topic, at) for topic in topics for at in client.partitions_for_topic(topic) or ()]
            return int(sum(client.end_offsets(places).values()))

    def applied(self) -> int:
        """Outcomes in Kafka before the positions that Redis keeps."""
        return store.applied(self.settings)

    def totals(self) -> Totals:
        """What Redis counts over all partitions."""
        return store.totals(self.settings)

    def behind(self) -> int:
        """Input records whose outcome is not committed; the positions of the aggregate stage are Redis' to keep."""
        return sum(found.records for found in lag(self.settings) if found.stage == "enrich")

    def committed(self) -> int:
        """Input records that are committed, and the offsets without a record before them."""
        return sum(found.committed or 0 for found in lag(self.settings) if found.stage == "enrich")

    def wait(self, condition: Callable[[], bool], what: str, timeout_s: float = DEADLINE_S) -> float:
        """Poll until `condition` holds, while all workers run; the seconds that it took.

        Raises:
            Broken: not in time, or a worker ended.
        """
        started_s = time.monotonic()
        while not answered(condition):
            for worker in self.workers:
                hold(worker.ended() is None, f"a worker ended with {worker.ended()}:\n{log_tail(worker.log)}")
            waited_s = time.monotonic() - started_s
            logs = "\n".join(log_tail(worker.log) for worker in self.workers)
            hold(waited_s < timeout_s, f"not within {timeout_s:.0f} s: {what}\n{logs}")
            time.sleep(POLL_S)
        return time.monotonic() - started_s

    def ready(self, timeout_s: float = DEADLINE_S) -> float:
        """Wait until every worker says that records flow; the seconds that it took."""
        return self.wait(lambda: all(worker.ready for worker in self.workers), "every worker ready", timeout_s)

    def rebalances(self) -> int:
        """How often a worker was given partitions, over all of them, also those that ended."""
        logs = self.directory.glob(f"{self.variables['POLYVOX_APP_ID']}-*.log")
        return sum(log.read_bytes().count(b'"partitions_assigned"') for log in logs)

    def progress(self, timeout_s: float = DEADLINE_S, since: int | None = None) -> float:
        """Wait until more is published than now, or than `since`; the seconds that it took.

        With workers that run while posts are sent, take `since` from before: all may be published by now.
        """
        before = self.published() if since is None else since
        return self.wait(lambda: self.published() > before, f"more than {before} outcomes", timeout_s)

    def finish(self, timeout_s: float = DEADLINE_S) -> None:
        """Wait until every record is committed and every outcome that is in Kafka applied; `audit` counts them."""
        self.wait(lambda: self.behind() == 0, f"{self.produced} records committed", timeout_s)
        self.wait(lambda: self.applied() == self.published(), "every outcome applied", timeout_s)

    def audit(self, figures: Figures) -> Report:
        """Run `polyvox verify` and note what it found.

        Raises:
            Broken: something is missing or wrong, was not checked, or is not counted.
        """
        report = verify(self.settings, SystemClock())
        not_due = sum(each.end - each.begin for each in report.inputs if each.last is None)
        not_due += sum(each.end - each.last - 1 for each in report.inputs if each.last is not None)
        figures.lost += sum(each.missing + each.unknown for each in report.inputs) + not_due
        figures.double_counted += report.wrong.get("counter", 0) + report.wrong.get("position", 0)
        figures.duplicates += sum(report.repeated.values())
        hold(report.holds, f"verify: {dict(report.wrong)}: {report.findings[:3]}")
        hold(not report.unchecked, f"verify could not check: {report.unchecked}")
        hold(figures.lost == 0, f"{figures.lost} records without an outcome")
        hold(report.counters > 0, "no counter was compared")
        received = self.totals().received
        hold(received == self.produced, f"{self.produced} records sent, {received} counted")
        return report


def answered(condition: Callable[[], bool]) -> bool:
    """Whether a condition holds; not while a server cannot tell, as a broker whose coordinator is starting."""
    try:
        return condition()
    except Transient:
        return False


def _consumer(settings: Settings) -> KafkaConsumer:
    return KafkaConsumer(bootstrap_servers=settings.kafka_brokers, group_id=None, fetch_max_wait_ms=20)


@contextmanager
def line(
    trial: Trial, addresses: Addresses | None = None, through: Addresses | None = None, **options: str
) -> Iterator[Line]:
    """A deployment with empty topics and an empty Redis; whatever still runs of it is killed at the end.

    Args:
        trial: whose servers are used.
        addresses: others than the rig's.
        through: where its workers reach the servers instead, such as a proxy.
        options: further settings, by name.
    """
    rig = trial.rig
    where = addresses or rig.addresses
    name = f"f{uuid4().hex[:8]}"
    made = Line(
        variables(where)
        | {
            "POLYVOX_APP_ID": name,
            "POLYVOX_INPUT_TOPICS": f"{name}.social=social,{name}.financial=financial",
            "POLYVOX_ENRICHED_TOPIC": f"{name}.enriched",
            "POLYVOX_DEAD_LETTERS_TOPIC": f"{name}.dead",
            "POLYVOX_PARTITIONS": str(PARTITIONS),
            "POLYVOX_MODELS_DIR": str(rig.null_models),
            "POLYVOX_INFERENCE": "triton",
            **FAST_MODEL,
            "POLYVOX_KAFKA_IDEMPOTENCE": "true",
            "POLYVOX_HEALTH_HOST": "127.0.0.1",
            "POLYVOX_HEALTH_PORT": "0",
        }
        | {f"POLYVOX_{name.upper()}": value for name, value in options.items()},
        _addressed(through) if through else {},
        rig.directory,
        trial.root,
    )
    store.empty(made.settings)
    ensure_topics(made.settings)
    try:
        yield made
    finally:
        for worker in made.workers:
            worker.kill()


def _addressed(where: Addresses) -> dict[str, str]:
    return {name: value for name, value in variables(where).items() if name.endswith(("_BROKERS", "_URL"))}
