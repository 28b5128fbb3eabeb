"""A deployment under test: topics and groups of its own on the shared servers, its workers, and what it is fed."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import uuid4

from kafka import KafkaConsumer, KafkaProducer, TopicPartition

from tests.logged import logged
from worker.events import Story, dead_letter_from_headers, decode_enriched, position_from_headers
from worker.local.stack import Addresses
from worker.local.worker import variables
from worker.opinion.answers import Totals
from worker.opinion.client import Link
from worker.opinion.queries import Queries
from worker.opinion.reader import RedisReader
from worker.settings import REPOSITORY, Settings, load_settings

MODELS = Path(__file__).parent.parent / "fixtures" / "tiny_models"
DEADLINE_S = 60.0
RUN = "import sys; from worker.settings import settings; from worker.stream.main import run; sys.exit(run(settings()))"


def settings_of(line: Line, told: Mapping[str, str] | None = None) -> Settings:
    """The settings of its workers; `told` are environment variables that some of them have beside."""
    environment = line.settings | dict(told or {})
    return load_settings(**{name.removeprefix("POLYVOX_").lower(): value for name, value in environment.items()})


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

    def said(self, event: str) -> list[dict[str, Any]]:
        """The lines of the log with this name; workers that write at one moment share a line."""
        return logged(self.log, event)

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


@contextmanager
def running_line(addresses: Addresses, log: Path) -> Iterator[Line]:
    """A deployment whose workers are killed at the end."""
    line = Line(addresses, log)
    try:
        yield line
    finally:
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
