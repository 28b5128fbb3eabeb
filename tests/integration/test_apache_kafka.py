"""The whole worker on Apache Kafka: transactions, a SIGKILL in the middle, and the verification of what came out."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from kafka import KafkaProducer

from tests.integration.line import POISON, Line, posts, running_line, settings_of
from worker.feeds.lag import own_lag
from worker.feeds.topics import ensure_topics
from worker.local.stack import Addresses
from worker.stream.watchdog import holds_record
from worker.timing import SystemClock
from worker.verify.run import verify

pytestmark = pytest.mark.integration


@pytest.fixture
def line(apache_kafka: str, servers: Addresses, redis_url: str, tmp_path: Path) -> Iterator[Line]:
    with running_line(replace(servers, kafka=apache_kafka), tmp_path / "worker.log") as made:
        yield made


def in_transaction(line: Line, values: list[bytes | None], *, commit: bool) -> None:
    """Produce to the partitions of one topic in one transaction, which leaves its marker behind either way."""
    producer = KafkaProducer(bootstrap_servers=line.addresses.kafka, transactional_id=f"{line.name}-{commit}")
    producer.init_transactions()
    producer.begin_transaction()
    for number, value in enumerate(values):
        producer.send(f"{line.name}.financial", value, partition=number % 2)
    producer.flush()
    if commit:
        producer.commit_transaction()
        line.produced += len(values)
    else:
        producer.abort_transaction()
    producer.close()


def test_a_kill_in_the_middle_loses_and_doubles_nothing(line: Line) -> None:
    """SIGKILL between posts, poison, transactions and their markers: every record has its outcome, counters are exact.

    Records of an aborted transaction are none, and the offsets of markers are no losses and no lag.
    """
    quick = {"POLYVOX_KAFKA_IDEMPOTENCE": "true", "POLYVOX_BATCHES_IN_FLIGHT": "1", "POLYVOX_STALLED_AFTER_S": "5"}
    settings = settings_of(line)
    ensure_topics(settings)
    line.produce([*posts(300), *POISON, None])
    in_transaction(line, posts(40, first=1000), commit=True)
    worker = line.start(**quick)
    line.applied(50)
    assert verify(settings, SystemClock()).holds, "while the worker runs"
    worker.kill()
    worker.wait()
    line.workers.clear()
    in_transaction(line, posts(40, first=2000), commit=False)
    line.produce([*posts(100, first=3000), *POISON])
    line.start(**quick)
    line.applied(line.produced)
    assert line.stop() == [0]
    behind = [lag for lag in own_lag(settings) if lag.records > 0]
    assert {lag.topic for lag in behind} == {f"{line.name}.financial"}, "the markers look like lag"
    assert not any(holds_record(settings, lag) for lag in behind)
    report = verify(settings, SystemClock())
    assert report.holds, report.findings
    assert report.unchecked == []
    assert report.counters > 0
    assert sum(line.outcomes().values()) - sum(report.repeated.values()) == len(line.outcomes()) == line.produced
    assert line.totals().received == line.produced
