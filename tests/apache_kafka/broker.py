"""KRaft brokers on loopback, from jars that Maven fetches once into `.cache/`; needs JDK 17 and Maven."""

from __future__ import annotations

import base64
import os
import re
import shutil
import subprocess
import time
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.apache_kafka.secured import MECHANISM, PASSWORD, USER, Identity
from worker.local.ports import LOOPBACK, free_port
from worker.local.probe import kafka_ready
from worker.local.process import Guarded, Launch, log_tail
from worker.settings import REPOSITORY

POM = Path(__file__).with_name("pom.xml")
CACHE = REPOSITORY / ".cache" / "apache-kafka"
OLDEST_JAVA = 17
FETCH_S = 300
START_S = 120.0
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


def jars(pom: Path = POM, cache: Path = CACHE, *more: str) -> Path:
    """The directory of the jars of a pom, Kafka's by default, fetched when the pom has changed.

    Args:
        more: goals of Maven beside copying the dependencies.

    Raises:
        Unavailable: no Maven, or it cannot fetch them.
    """
    wanted, marker = pom.read_text(encoding="utf-8"), cache / "pom.xml"
    if marker.is_file() and marker.read_text(encoding="utf-8") == wanted:
        return cache / "jars"
    maven = shutil.which("mvn")
    if maven is None:
        raise Unavailable(f"no mvn: install Maven, which fetches the jars of {cache.name}")
    shutil.rmtree(cache, ignore_errors=True)
    cache.mkdir(parents=True)
    # -C: a jar whose checksum is wrong fails.
    goals = ("dependency:copy-dependencies", *more, f"-DoutputDirectory={cache / 'jars'}")
    _run_maven((maven, "-q", "-B", "-C", "-f", str(pom), *goals), cache.name)
    marker.write_text(wanted, encoding="utf-8")
    return cache / "jars"


def _run_maven(command: tuple[str, ...], what: str) -> None:
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=FETCH_S, check=False)
    except subprocess.TimeoutExpired:
        raise Unavailable(f"Maven could not fetch {what} in {FETCH_S} s: run again, it keeps what it has") from None
    if done.returncode != 0:
        raise Unavailable(f"Maven could not fetch {what}: {done.stdout.strip().splitlines()[:1]}")


@dataclass(frozen=True)
class Node:
    """The ports of one broker that is a controller, too.

    Args:
        advertised_port: of a second listener, PROXIED, the port that clients are told; 0 for no such listener.
        secured_port: of a third, SECURED, which asks for a login over TLS; 0 for none.
    """

    number: int
    port: int
    controller_port: int
    proxied_port: int = 0
    advertised_port: int = 0
    secured_port: int = 0

    @property
    def address(self) -> str:
        """host:port."""
        return f"{LOOPBACK}:{self.port}"

    @property
    def secured_address(self) -> str:
        """host:port of the listener that asks for a login."""
        return f"{LOOPBACK}:{self.secured_port}"


def properties(directory: Path, node: Node, nodes: Sequence[Node]) -> dict[str, str]:
    """One node of a cluster; internal topics on all of them, groups without waiting."""
    plain, proxied = f"PLAINTEXT://{node.address}", f"PROXIED://{LOOPBACK}:"
    listeners = [plain, f"CONTROLLER://{LOOPBACK}:{node.controller_port}"]
    advertised = [plain]
    if node.proxied_port:
        listeners.append(f"{proxied}{node.proxied_port}")
        advertised.append(f"{proxied}{node.advertised_port}")
    if node.secured_port:
        secured = f"SECURED://{node.secured_address}"
        listeners.append(secured)
        advertised.append(secured)
    replicas = str(len(nodes))
    in_sync = str(max(1, len(nodes) - 1))
    return {
        "process.roles": "broker,controller",
        "node.id": str(node.number),
        "controller.quorum.voters": ",".join(f"{each.number}@{LOOPBACK}:{each.controller_port}" for each in nodes),
        "listeners": ",".join(listeners),
        "advertised.listeners": ",".join(advertised),
        "listener.security.protocol.map": ",".join(
            ("PLAINTEXT:PLAINTEXT", "PROXIED:PLAINTEXT", "CONTROLLER:PLAINTEXT", "SECURED:SASL_SSL")
        ),
        "controller.listener.names": "CONTROLLER",
        "log.dirs": str(directory / "data"),
        "auto.create.topics.enable": "false",
        "min.insync.replicas": in_sync,
        "group.initial.rebalance.delay.ms": "0",
        "group.min.session.timeout.ms": "1000",
        "offsets.topic.num.partitions": "1",
        "offsets.topic.replication.factor": replicas,
        "transaction.state.log.num.partitions": "1",
        "transaction.state.log.replication.factor": replicas,
        "transaction.state.log.min.isr": in_sync,
        "share.coordinator.state.topic.num.partitions": "1",
        "share.coordinator.state.topic.replication.factor": replicas,
        "share.coordinator.state.topic.min.isr": in_sync,
    }


class Broker:
    """One broker that keeps its data in `directory`; starts again on the same ports, with what it had written.

    Raises:
        Unavailable: this machine lacks something.
    """

    def __init__(self, directory: Path, node: Node, nodes: Sequence[Node], cluster_id: str) -> None:
        self.node = node
        program, classpath = java(), f"{jars()}/*"
        self.address = node.address
        directory.mkdir(exist_ok=True)
        config = directory / "server.properties"
        wanted = properties(directory, node, nodes)
        users: tuple[str, ...] = ()
        if node.secured_port:
            self.identity = Identity.make(directory, program)
            wanted |= self.identity.properties("SECURED")
            users = ("--add-scram", f"{MECHANISM}=[name={USER},password={PASSWORD}]")
        config.write_text("".join(f"{name}={value}\n" for name, value in wanted.items()))
        run = (program, HEAP, "-cp", classpath)
        format_it = [*run, "kafka.tools.StorageTool", "format", f"--cluster-id={cluster_id}", "-c", str(config), *users]
        # With "=": one id in 64 begins with a dash, and would read as another option.
        subprocess.run(format_it, check=True, capture_output=True, timeout=START_S)
        self._launch = Launch((*run, "kafka.Kafka", str(config)), directory, directory / "kafka.log", stop_s=20.0)
        self._running: Guarded | None = None

    def start(self) -> None:
        """Start it."""
        self._running = Guarded(self._launch)

    def wait(self) -> None:
        """Return when it answers.

        Raises:
            RuntimeError: it does not start; the end of its log.
        """
        ends_at = time.monotonic() + START_S
        while not kafka_ready(self.address):
            if self._running is None or self._running.ended() is not None or time.monotonic() > ends_at:
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
def running_cluster(
    directory: Path, count: int, advertised_port: int = 0, secured: bool = False
) -> Iterator[list[Broker]]:
    """Brokers with their data in `directory`. They end with this process at the latest.

    Args:
        advertised_port: the port that clients of a second listener are told: a proxy's, before `Node.proxied_port`.
        secured: with a listener that asks for a login over TLS.

    Raises:
        Unavailable: this machine lacks something.
        RuntimeError: one does not start; the end of its log.
    """
    taken = {advertised_port}
    nodes = [
        Node(
            number,
            port=free_port(taken),
            controller_port=free_port(taken),
            proxied_port=free_port(taken) if advertised_port else 0,
            advertised_port=advertised_port,
            secured_port=free_port(taken) if secured else 0,
        )
        for number in range(1, count + 1)
    ]
    cluster_id = base64.urlsafe_b64encode(uuid.uuid4().bytes).rstrip(b"=").decode()
    brokers = [Broker(directory / f"{node.number}", node, nodes, cluster_id) for node in nodes]
    try:
        for broker in brokers:
            broker.start()
        for broker in brokers:
            broker.wait()
        yield brokers
    finally:
        for broker in brokers:
            broker.kill()


@contextmanager
def running_broker(directory: Path) -> Iterator[str]:
    """One broker; host:port. Raises as `running_cluster`."""
    with running_cluster(directory, 1) as (broker,):
        yield broker.address
