"""The worker as a process between a real broker and a real Redis: nothing lost, nothing counted twice."""

from __future__ import annotations

import asyncio
import json
import os
import re
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from tests.integration.line import DEADLINE_S, POISON, Line, posts, wait_for
from tests.little_triton import TINY
from tests.measured_batches import content_of
from worker.analysis.batching_file import write
from worker.events import dead_letter_from_headers, decode_enriched
from worker.local.worker import get
from worker.opinion.client import Link

pytestmark = pytest.mark.integration

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


def test_a_worker_without_partitions_is_ready(line: Line) -> None:
    """Three workers share two partitions: the spare one is ready, or a rolling upgrade would wait for it for ever."""
    for _ in range(3):
        line.start(POLYVOX_ROLE="enrich")

    def ready() -> bool:
        addresses = [said["health"] for said in line.said("worker_started")]
        return len(addresses) == 3 and all(get(address, "/ready")[0] == 200 for address in addresses)

    wait_for(ready, "three workers ready")
    given = [said["partitions"] for said in line.said("partitions_assigned")]
    assert min(given) == 0 < max(given)


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


def test_a_worker_batches_as_its_file_says(line: Line, tmp_path: Path) -> None:
    """It reads the file at its start, says so, and no batch has more posts than the file allows."""
    path = tmp_path / "batching.json"
    smallest = {"batch_posts": 1, "batch_tokens": 512, "batches_in_flight": 2}
    write(path, content_of(smallest, TINY.model.version, "embedded"))
    line.start(POLYVOX_BATCHING_FILE=str(path), POLYVOX_ROLE="enrich")
    line.start(POLYVOX_ROLE="aggregate")
    line.produce(posts(60))
    line.applied(line.produced)
    [read] = line.said("batching_read")
    assert {name: read[name] for name in smallest} == smallest
    [started] = [each for each in line.said("worker_started") if each["role"] == "enrich"]
    status, metrics = get(started["health"], "/metrics")
    sizes = dict(re.findall(r'^polyvox_batch_windows_bucket\{le="([^"]+)"\} (\S+)$', metrics, re.MULTILINE))
    assert status == 200
    assert float(sizes["1.0"]) == float(sizes["+Inf"]) > 0


def test_a_worker_that_stands_still_ends(line: Line) -> None:
    """Records wait and nothing is committed for longer than the setting: non-zero, and the log says where."""
    waits = {"POLYVOX_POOL_WAIT_MS": "600000", "POLYVOX_BATCHES_IN_FLIGHT": "1"}
    worker = line.start(POLYVOX_STALLED_AFTER_S="3", POLYVOX_ROLE="enrich", **waits)
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


def test_a_second_reading_asks_the_shared_memory_and_not_the_model(line: Line) -> None:
    """Another group reads all posts again, as after a lost position: every window's answer comes from Redis."""
    line.start(POLYVOX_SHARED_ANSWERS_S="3600")
    line.produce(posts(60))
    line.applied(line.produced)
    assert line.stop() == [0]
    line.start(POLYVOX_SHARED_ANSWERS_S="3600", POLYVOX_APP_ID=f"{line.name}-again", POLYVOX_ROLE="enrich")
    wait_for(lambda: min(line.outcomes().values()) == 2, "every outcome twice")
    *_, again = line.said("worker_started")
    _, metrics = get(again["health"], "/metrics")
    windows = dict(re.findall(r'^polyvox_windows_total\{answer="([^"]+)"\} (\S+)$', metrics, re.MULTILINE))
    assert float(windows["shared"]) > 0
    assert "model" not in windows
    events: dict[str, list[object]] = {}
    for record in line.read("enriched"):
        event = decode_enriched(record.value)  # type: ignore[attr-defined]
        events.setdefault(event.event_id, []).append((event.sentiment, event.topic, event.entities, event.language))
    assert all(first == second for first, second in events.values())
