"""The whole worker on an Apache Kafka that asks for a login over TLS."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import certifi
import pytest

from tests.apache_kafka.broker import Broker, running_cluster
from tests.apache_kafka.needed import or_skipped
from tests.apache_kafka.secured import MECHANISM, PASSWORD, USER
from tests.integration.line import DEADLINE_S, POISON, Line, posts, running_line, settings_of
from worker.errors import BrokerUnavailable, ConfigInvalid
from worker.feeds.lag import lag
from worker.feeds.topics import ensure_topics
from worker.local.stack import Addresses
from worker.timing import SystemClock
from worker.verify.run import verify

pytestmark = pytest.mark.integration


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Broker]:
    with or_skipped(), running_cluster(tmp_path_factory.mktemp("secured"), 1, secured=True) as [made]:
        yield made


@pytest.fixture
def line(broker: Broker, servers: Addresses, redis_url: str, tmp_path: Path) -> Iterator[Line]:
    with running_line(replace(servers, kafka=broker.address), tmp_path / "worker.log") as made:
        yield made


def secured(broker: Broker, **changed: str) -> dict[str, str]:
    """What a worker is told of the listener."""
    told = {
        "POLYVOX_KAFKA_BROKERS": broker.node.secured_address,
        "POLYVOX_KAFKA_PROTOCOL": "SASL_SSL",
        "POLYVOX_KAFKA_SASL_MECHANISM": MECHANISM,
        "POLYVOX_KAFKA_USERNAME": USER,
        "POLYVOX_KAFKA_PASSWORD": PASSWORD,
        "POLYVOX_KAFKA_CA_FILE": str(broker.identity.ca_file),
        "POLYVOX_KAFKA_IDEMPOTENCE": "true",
    }
    return told | changed


def test_every_client_logs_in(line: Line, broker: Broker) -> None:
    """Topics, worker, lag and verification, all through the one listener; the password is not in the log."""
    told = secured(broker)
    settings = settings_of(line, told)
    ensure_topics(settings)
    line.produce([*posts(100), *POISON, None])
    line.start(**told)
    line.applied(line.produced)
    assert line.stop() == [0]
    assert [found.records for found in lag(settings) if found.stage == "enrich" and found.records] == []
    report = verify(settings, SystemClock())
    assert report.holds, report.findings
    assert PASSWORD not in line.log.read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"POLYVOX_KAFKA_PASSWORD": "wrong-and-secret"}, "POLYVOX_KAFKA_PASSWORD"),
        ({"POLYVOX_KAFKA_CA_FILE": certifi.where()}, "POLYVOX_KAFKA_CA_FILE"),
        ({"POLYVOX_KAFKA_SASL_MECHANISM": "PLAIN"}, "POLYVOX_KAFKA_SASL_MECHANISM"),
    ],
    ids=["wrong password", "unknown authority", "another login"],
)
def test_a_refused_login_ends_the_worker_and_says_what_to_check(
    line: Line, broker: Broker, changed: dict[str, str], said: str
) -> None:
    """Not alive and idle, and without the secret in the log; the commands say the same."""
    told = secured(broker, **changed)
    worker = line.start(**told)
    assert worker.wait(DEADLINE_S) not in (0, None)
    log = line.log.read_text(encoding="utf-8")
    failed = line.said("worker_failed")
    assert failed, log
    assert said in str(failed[-1]["error"])
    assert "secret" not in log
    with pytest.raises((BrokerUnavailable, ConfigInvalid), match=said):
        ensure_topics(settings_of(line, told))
