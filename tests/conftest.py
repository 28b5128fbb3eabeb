"""The real servers that tests share: one embedded stack for the whole run."""

from __future__ import annotations

import socket
from collections.abc import Iterator

import hypothesis
import pytest

from tests.apache_kafka.broker import running_broker
from tests.apache_kafka.needed import or_skipped
from worker.local.stack import Addresses, StackOptions, running_stack

# Time is not what these tests are about, and the machines they run on are shared.
hypothesis.settings.register_profile("polyvox", deadline=None)
hypothesis.settings.load_profile("polyvox")


@pytest.fixture
def one_thread() -> Iterator[None]:
    """Torch on one thread: the tests' small tensors only lose by being shared out, and by much on a busy machine."""
    torch = pytest.importorskip("torch")
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def servers() -> Iterator[Addresses]:
    """A Kafka-protocol broker and Redis."""
    with running_stack(StackOptions(servers=("kafka", "redis")), print) as addresses:
        yield addresses


@pytest.fixture(scope="session")
def stack() -> Iterator[Addresses]:
    """Broker, Redis and Triton with the shipped models, apart from `servers`."""
    with running_stack(StackOptions(), print) as addresses:
        yield addresses


@pytest.fixture(scope="session")
def kafka_brokers(servers: Addresses) -> str:
    """Where the broker listens."""
    return servers.kafka


@pytest.fixture(scope="session")
def apache_kafka(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Where an Apache Kafka broker listens; skips, in CI fails, on a machine without JDK 17 and Maven."""
    with or_skipped(), running_broker(tmp_path_factory.mktemp("apache-kafka")) as address:
        yield address


@pytest.fixture
def redis_url(servers: Addresses) -> str:
    """An empty Redis database."""
    host, _, port = servers.redis_url.removeprefix("redis://").partition("/")[0].partition(":")
    with socket.create_connection((host, int(port)), timeout=10) as connection:
        connection.sendall(b"FLUSHALL\r\n")
        assert connection.recv(64) == b"+OK\r\n"
    return servers.redis_url


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The model room needs torch, whose import alone takes seconds: its tests are slow ones."""
    for item in items:
        if item.path.name.startswith("test_model_"):
            item.add_marker(pytest.mark.slow)
