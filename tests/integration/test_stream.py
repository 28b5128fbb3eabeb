"""The worker as a process between a real broker and a real Redis: nothing lost, nothing counted twice."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from uuid import uuid4

import pytest
from kafka import KafkaConsumer, KafkaProducer, TopicPartition

from worker.events import Story, dead_letter_from_headers, decode_enriched, position_from_headers
from worker.local.stack import Addresses
from worker.local.worker import variables
from worker.opinion.answers import Totals
from worker.opinion.client import Link
from worker.opinion.queries import Queries
from worker.opinion.reader import RedisReader
from worker.settings import REPOSITORY, load_settings

pytestmark = pytest.mark.integration

MODELS = Path(__file__).parent.parent / "fixtures" / "tiny_models"
DEADLINE_S = 60.0
RUN = "import sys; from worker.settings import settings; from worker.stream.main import run; sys.exit(run(settings()))"


def wait_for(condition: Callable[[], bool], what: str) -> None:
    """Poll until `condition` holds."""
    deadline_s = time.monotonic() + DEADLINE_S
    while not condition():
        assert time.monotonic() < deadline_s, f"not within {DEADLINE_S} s: {what}"
        time.sleep(0.1)


@dataclass
class Line:
    """One deployment: its own topics and groups on the shared servers, and the workers that run in it."""

    addresses: Addresses
    log: Path
    name: str = field(default_factory=lambda: f"t{uuid4().hex[:8]}")
    workers: list[subprocess.Popen[bytes]] = field(default_factory=list)
    produced: int = 0

    @property
    def settings(self) -> dict[str, str]:
        return variables(self.addresses) | {
            "POLYVOX_APP_ID": self.name,
            "POLYVOX_INPUT_TOPICS": f"{self.name}.social=social,{self.name}.financial=financial",
            "POLYVOX_ENRICHED_TOPIC": f"{self.name}.enriched",
            "POLYVOX_DEAD_LETTERS_TOPIC": f"{self.name}.dead",
            "POLYVOX_ALERTS_TOPIC": f"{self.name}.alerts",
            "POLYVOX_PARTITIONS": "2",
            "POLYVOX_MODELS_DIR": str(MODELS),
            "POLYVOX_INFERENCE": "embedded",
            "POLYVOX_HEALTH_PORT": "0",
        }

    def start(self, root: Path = REPOSITORY, **settings: str) -> subprocess.Popen[bytes]:
        """Start a worker, from another copy of the code when `root` is one."""
        with self.log.open("ab") as log:
            environment = {**os.environ, **self.settings, **settings, "PYTHONPATH": str(root)}
            worker = subprocess.Popen(
                [sys.executable, "-c", RUN], cwd=root, env=environment, stderr=log, stdout=subprocess.DEVNULL
            )
        self.workers.append(worker)
        return worker

    def logged(self, event: str) -> int:
        return self.log.read_bytes().count(b'"%s"' % event.encode())

    def produce(self, values: Sequence[bytes | None], topic: str = "social") -> None:
        producer = KafkaProducer(bootstrap_servers=self.addresses.kafka)
        for number, value in enumerate(values):
            producer.send(f"{self.name}.{topic}", value, key=b"%d" % number)
        producer.flush()
        producer.close()
        self.produced += len(values)

    def read(self, topic: str) -> list[object]:
        """Every record of an output topic."""
        consumer = KafkaConsumer(bootstrap_servers=self.addresses.kafka, group_id=None, fetch_max_wait_ms=20)
        try:
            name = f"{self.name}.{topic}"
            consumer.assign([TopicPartition(name, number) for number in sorted(consumer.partitions_for_topic(name))])
            consumer.seek_to_beginning()
            records: list[object] = []
            quiet = 0
            while quiet < 3:
                found = [record for part in consumer.poll(timeout_ms=300).values() for record in part]
                quiet = 0 if found else quiet + 1
                records += found
            return records
        finally:
            consumer.close()

    def outcomes(self) -> Counter[tuple[str, int, int]]:
        """How often each source position has an outcome."""
        found: Counter[tuple[str, int, int]] = Counter()
        for record in [*self.read("enriched"), *self.read("dead")]:
            position, _ = position_from_headers(record.headers)  # type: ignore[attr-defined]
            found[position.topic, position.partition, position.offset] += 1
        return found

    def totals(self) -> Totals:
        """What Redis counts over all partitions."""

        async def ask() -> Totals:
            link = Link(self.addresses.redis_url, 5.0)
            try:
                return await Queries(RedisReader(link), load_settings()).totals()
            finally:
                await link.aclose()

        return asyncio.run(ask())

    def stories(self) -> dict[str, set[Story | None]]:
        """Every decision about the story of each event."""
        found: dict[str, set[Story | None]] = {}
        for record in self.read("enriched"):
            event = decode_enriched(record.value)  # type: ignore[attr-defined]
            found.setdefault(event.event_id, set()).add(event.story)
        return found

    def reasons(self) -> list[str]:
        """Why records are in the dead-letter topic."""
        return [dead_letter_from_headers(record.headers).reason for record in self.read("dead")]  # type: ignore[attr-defined]

    def applied(self, records: int) -> None:
        """Wait until Redis has counted `records` source records."""
        wait_for(lambda: self.totals().received >= records, f"{records} records counted, {self.totals()}")

    def stop(self) -> list[int]:
        for worker in self.workers:
            worker.send_signal(signal.SIGTERM)
        codes = [worker.wait(30) for worker in self.workers]
        self.workers.clear()
        return codes


@pytest.fixture
def line(servers: Addresses, redis_url: str, tmp_path: Path) -> Iterator[Line]:
    line = Line(servers, tmp_path / "worker.log")
    yield line
    for worker in line.workers:
        worker.kill()
        worker.wait()


def posts(count: int, first: int = 0) -> list[bytes | None]:
    published_at = datetime.now(UTC).isoformat()
    return [
        json.dumps(
            {
                "id": f"p{number}",
                "source": "test",
                "published_at": published_at,
                "text": "Guten Tag aus Köln. " * (number % 9),
            }
        ).encode()
        for number in range(first, first + count)
    ]


POISON: list[bytes | None] = [
    b"not json",
    b'{"text": "\xff"}',
    b'{"id": "1"}',
    b'{"id":"1","source":"s","published_at":"2026-01-01T00:00:00Z","text":"\\ud800"}',
    json.dumps({"id": "1", "source": "s", "published_at": "2026-01-01T00:00:00Z", "text": "wort " * 200_000}).encode(),
]
ODD: list[bytes | None] = [
    json.dumps({"id": "1", "source": "s", "text": text, "published_at": date}).encode()
    for text, date in [
        ("", "2026-01-01T00:00:00Z"),
        ("\U0001f600\U0001f389", "2026-01-01T00:00:00Z"),
        ("\u05e9\u05dc\u05d5\u05dd world \u4e16\u754c", "2026-01-01T00:00:00Z"),
        ("now", "2099-01-01T00:00:00Z"),
    ]
]


def test_every_record_has_one_outcome_and_counts_once(line: Line) -> None:
    """Posts, poison and tombstones of two topics: each has its outcome, and Redis counts what came out."""
    line.start()
    line.produce([*posts(300), *POISON, *ODD, None])
    line.produce(posts(100), topic="financial")
    line.applied(line.produced)
    totals = line.totals()
    assert totals.analysed == 400 + len(ODD)
    assert totals.tombstones == 1
    assert totals.dead_letter_reasons == {
        "not_json": 1, "bad_utf8": 1, "missing_field": 1, "lone_surrogate": 1, "text_too_long": 1,
    }  # fmt: skip
    outcomes = line.outcomes()
    assert len(outcomes) == line.produced
    assert set(outcomes.values()) == {1}
    assert line.stop() == [0]


def test_outcomes_say_where_they_come_from(line: Line) -> None:
    """`enriched` keeps the order of each source partition and carries its position; dead letters keep their bytes."""
    line.start()
    line.produce([*posts(60), *POISON])
    line.applied(line.produced)
    offsets: dict[tuple[int, int], list[int]] = {}
    for record in line.read("enriched"):
        event = decode_enriched(record.value)
        assert event.event_id == event.position.event_id == dict(record.headers)["pv-event-id"].decode()
        assert event.source_class == "social"
        assert record.partition == event.position.partition * 2
        offsets.setdefault((record.partition, event.position.partition), []).append(event.position.offset)
    assert all(found == sorted(found) for found in offsets.values())
    letters = {dead_letter_from_headers(record.headers).reason: record.value for record in line.read("dead")}
    assert letters["not_json"] == b"not json"
    assert set(letters.values()) == set(POISON)


def test_a_killed_worker_loses_and_doubles_nothing(line: Line) -> None:
    """After SIGKILL in the middle of the work, the next completes it: 0 missing, counters exact, stories stand."""
    for start in range(3):
        worker = line.start(POLYVOX_BATCHES_IN_FLIGHT="1")
        line.produce(posts(400, first=start * 400))
        line.applied(start * 400 + 50)
        worker.kill()
        worker.wait()
        line.workers.clear()
    line.start()
    line.applied(line.produced)
    totals = line.totals()
    assert (totals.received, totals.analysed) == (line.produced, line.produced)
    assert len(line.outcomes()) == line.produced
    stories = line.stories()
    assert all(len(found) == 1 for found in stories.values())
    assert totals.copies == sum(story.copy for (story,) in stories.values())


def test_a_clean_stop_repeats_nothing(line: Line) -> None:
    """SIGTERM in the middle of the work: what was read is finished, and no outcome is written twice."""
    line.start()
    line.produce(posts(600))
    line.applied(50)
    assert line.stop() == [0]
    line.start()
    line.applied(line.produced)
    assert set(line.outcomes().values()) == {1}


def test_reading_everything_again_changes_no_counter(line: Line) -> None:
    """A second group that reads all inputs again writes repeats, which count nothing."""
    line.start()
    line.produce([*posts(200), *POISON])
    line.applied(line.produced)
    before = line.totals()
    line.start(POLYVOX_APP_ID=f"{line.name}-again", POLYVOX_ROLE="enrich")
    wait_for(lambda: min(line.outcomes().values()) == 2, "every outcome twice")
    line.stop()
    line.start()
    line.produce([b"last"])
    line.applied(line.produced)
    after = line.totals()
    assert (after.analysed, after.copies, after.received) == (before.analysed, before.copies, before.received + 1)


def test_an_emptied_redis_is_counted_anew(line: Line) -> None:
    """Redis lost everything: the next worker reads the outcomes from their beginning, without one inference."""

    async def empty() -> None:
        link = Link(line.addresses.redis_url, 5.0)
        await link.redis.flushall()
        await link.aclose()

    line.start()
    line.produce([*posts(60), *POISON])
    line.applied(line.produced)
    before = line.totals()
    assert line.stop() == [0]
    asyncio.run(empty())
    line.start()
    line.applied(line.produced)
    assert line.totals() == before
    assert set(line.outcomes().values()) == {1}


def test_a_broken_model_ends_the_worker(line: Line) -> None:
    """A deployment whose model is missing ends non-zero and consumes nothing."""
    worker = line.start(POLYVOX_MODEL_NAME="absent")
    assert worker.wait(DEADLINE_S) == 70
    assert b"POLYVOX_MODELS_DIR" in line.log.read_bytes()


def test_a_worker_that_stands_still_ends(line: Line) -> None:
    """Records wait and nothing is committed for longer than the setting: non-zero, and the log says where."""
    worker = line.start(POLYVOX_STALLED_AFTER_S="3", POLYVOX_POOL_WAIT_MS="600000", POLYVOX_ROLE="enrich")
    line.produce(posts(1))
    assert worker.wait(DEADLINE_S) == 70
    assert line.logged("worker_stalled") == 1


def test_the_faust_command_line_starts_the_worker(line: Line) -> None:
    """`faust -A worker.stream.app worker` does the same work, opens no port of Faust's, and stops cleanly."""
    faust = Path(sys.executable).with_name("faust")
    with line.log.open("ab") as log:
        worker = subprocess.Popen(
            [faust, "-A", "worker.stream.app", "worker", "-l", "info"],
            env={**os.environ, **line.settings}, stderr=log, stdout=log,
        )  # fmt: skip
    line.workers.append(worker)
    line.produce(posts(50))
    line.applied(line.produced)
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", 6066), timeout=5)
    assert line.stop() == [0]
