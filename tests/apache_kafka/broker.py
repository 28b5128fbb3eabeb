"""One KRaft broker on loopback, from jars that Maven fetches once into `.cache/`; needs JDK 17 and Maven."""

from __future__ import annotations

import base64
import os
import re
import shutil
import subprocess
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from worker.local.ports import LOOPBACK, free_port
from worker.local.probe import kafka_ready
from worker.local.process import Guarded, Launch, log_tail
from worker.settings import REPOSITORY

POM = Path(__file__).with_name("pom.xml")
CACHE = REPOSITORY / ".cache" / "apache-kafka"
OLDEST_JAVA = 17
FETCH_S = 300
START_S = 60.0
HEAP = "-Xmx512m"


class Unavailable(Exception):
    """Apache Kafka cannot run on this machine; says why."""


def java() -> str:
    """The program `java`, 17 or later.

    Raises:
        Unavailable: none, or an older one.
    """
    home = os.environ.get("JAVA_HOME")
    program = str(Path(home, "bin", "java")) if home else shutil.which("java")
    if program is None or not Path(program).is_file():
        raise Unavailable(f"no java: install a JDK {OLDEST_JAVA} or later, or set JAVA_HOME")
    said = subprocess.run([program, "-version"], capture_output=True, text=True, timeout=30, check=False).stderr
    version = re.search(r'version "(\d+)', said)
    if version is None or int(version[1]) < OLDEST_JAVA:
        raise Unavailable(f"{program} is {said.splitlines()[:1]}: Apache Kafka 4 needs JDK {OLDEST_JAVA} or later")
    return program


def jars() -> Path:
    """The directory of Kafka's jars, fetched when the pom has changed.

    Raises:
        Unavailable: no Maven, or it cannot fetch them.
    """
    pom, marker = POM.read_text(encoding="utf-8"), CACHE / "pom.xml"
    if marker.is_file() and marker.read_text(encoding="utf-8") == pom:
        return CACHE / "jars"
    maven = shutil.which("mvn")
    if maven is None:
        raise Unavailable("no mvn: install Maven, which fetches Apache Kafka's jars")
    shutil.rmtree(CACHE, ignore_errors=True)
    CACHE.mkdir(parents=True)
    # -C: a jar whose checksum is wrong fails.
    command = [
        maven,
        "-q",
        "-B",
        "-C",
        "-f",
        str(POM),
        "dependency:copy-dependencies",
        f"-DoutputDirectory={CACHE / 'jars'}",
    ]
    done = subprocess.run(command, capture_output=True, text=True, timeout=FETCH_S, check=False)
    if done.returncode != 0:
        raise Unavailable(f"Maven could not fetch Apache Kafka: {done.stdout.strip().splitlines()[:1]}")
    marker.write_text(pom, encoding="utf-8")
    return CACHE / "jars"


def properties(directory: Path, port: int, controller_port: int) -> dict[str, str]:
    """One broker that is its own controller; internal topics for one broker, groups without waiting."""
    return {
        "process.roles": "broker,controller",
        "node.id": "1",
        "controller.quorum.voters": f"1@{LOOPBACK}:{controller_port}",
        "listeners": f"PLAINTEXT://{LOOPBACK}:{port},CONTROLLER://{LOOPBACK}:{controller_port}",
        "advertised.listeners": f"PLAINTEXT://{LOOPBACK}:{port}",
        "controller.listener.names": "CONTROLLER",
        "log.dirs": str(directory / "data"),
        "auto.create.topics.enable": "false",
        "group.initial.rebalance.delay.ms": "0",
        "group.min.session.timeout.ms": "1000",
        "offsets.topic.num.partitions": "1",
        "offsets.topic.replication.factor": "1",
        "transaction.state.log.num.partitions": "1",
        "transaction.state.log.replication.factor": "1",
        "transaction.state.log.min.isr": "1",
        "share.coordinator.state.topic.num.partitions": "1",
        "share.coordinator.state.topic.replication.factor": "1",
        "share.coordinator.state.topic.min.isr": "1",
    }


class Broker:
    """One broker that keeps its data in `directory`; starts again on the same port, with what it had written.

    Raises:
        Unavailable: this machine lacks something.
    """

    def __init__(self, directory: Path) -> None:
        program, classpath = java(), f"{jars()}/*"
        taken: set[int] = set()
        port, controller_port = free_port(taken), free_port(taken)
        self.address = f"{LOOPBACK}:{port}"
        config = directory / "server.properties"
        wanted = properties(directory, port, controller_port)
        config.write_text("".join(f"{name}={value}\n" for name, value in wanted.items()))
        run = (program, HEAP, "-cp", classpath)
        cluster_id = base64.urlsafe_b64encode(uuid.uuid4().bytes).rstrip(b"=").decode()
        format_it = [*run, "kafka.tools.StorageTool", "format", "-t", cluster_id, "-c", str(config)]
        subprocess.run(format_it, check=True, capture_output=True, timeout=START_S)
        self._launch = Launch((*run, "kafka.Kafka", str(config)), directory, directory / "kafka.log", stop_s=20.0)
        self._running: Guarded | None = None

    def start(self) -> None:
        """Start it and wait until it answers.

        Raises:
            RuntimeError: it does not start; the end of its log.
        """
        self._running = Guarded(self._launch)
        ends_at = time.monotonic() + START_S
        while not kafka_ready(self.address):
            if self._running.ended() is not None or time.monotonic() > ends_at:
                raise RuntimeError(f"Apache Kafka did not start:\n{log_tail(self._launch.log)}")
            time.sleep(0.1)

    def stop(self) -> None:
        """End it in order."""
        if self._running is not None:
            self._running.stop()

    def kill(self) -> None:
        """SIGKILL it."""
        if self._running is not None:
            self._running.kill()


@contextmanager
def running_broker(directory: Path) -> Iterator[str]:
    """A broker with its data in `directory`; host:port. It ends with this process at the latest.

    Raises:
        Unavailable: this machine lacks something.
        RuntimeError: it does not start; the end of its log.
    """
    broker = Broker(directory)
    try:
        broker.start()
        yield broker.address
    finally:
        broker.stop()
