"""The whole worker, killed while it reads real posts in which a shift is planted: the alert comes, and once."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from uuid import uuid4

import pytest

from worker.alert_event import decode_alert
from worker.feeds.produce import produce
from worker.feeds.stretch import stretches
from worker.feeds.topics import ensure_topics
from worker.local.demo import demo_variables
from worker.local.opinions import received, windows_are_read
from worker.local.replay import plan
from worker.local.samples import age_of, find_samples
from worker.local.stack import Addresses
from worker.local.worker import WorkerProcess
from worker.settings import REPOSITORY, Settings, load_settings

pytestmark = [pytest.mark.integration, pytest.mark.slow]

SAMPLES = REPOSITORY / "samples"
KILLS = (400, 1100, 1800, 2200)
END_S = 240.0


def alerts_in(configured: Settings) -> Counter[tuple[str, str, str]]:
    """Id, key and direction of every record in the topic."""
    with stretches(configured) as log:
        found = [
            decode_alert(record.value or b"")
            for span in log.spans([configured.alerts_topic])
            for record in log.records(span.topic, span.partition, span.begin, span.end)
        ]
    return Counter((each.alert_id, each.key.name, each.direction) for each in found)


def wait(condition: Callable[[], object], worker: WorkerProcess) -> None:
    """Poll until `condition` holds, while the worker runs."""
    ends_s = time.monotonic() + END_S
    while not condition():
        worker.require_running()
        assert time.monotonic() < ends_s, f"not within {END_S} s"
        time.sleep(0.2)


def test_a_worker_that_is_killed_again_and_again_raises_the_planted_alert_once(
    stack: Addresses, tmp_path: Path
) -> None:
    """SIGKILL after so many posts were counted, four times; each time the next worker goes on."""
    name = f"killed-{uuid4().hex[:8]}"
    variables = demo_variables(stack, REPOSITORY / "triton_models") | {
        "POLYVOX_APP_ID": name,
        "POLYVOX_INPUT_TOPICS": f"{name}.social=social,{name}.financial=financial",
        "POLYVOX_ENRICHED_TOPIC": f"{name}.enriched",
        "POLYVOX_DEAD_LETTERS_TOPIC": f"{name}.dead",
        "POLYVOX_ALERTS_TOPIC": f"{name}.alerts",
        "POLYVOX_REDIS_URL": stack.redis_url.removesuffix("/0") + "/7",
    }
    configured = load_settings(**{key.removeprefix("POLYVOX_").lower(): value for key, value in variables.items()})
    ensure_topics(configured)
    samples = find_samples(SAMPLES)
    rows = plan(samples, age_of(samples, datetime.now(UTC))).rows
    renamed = (replace(row, topic=f"{name}.{(row.topic or '').removeprefix('posts.')}") for row in rows)
    produce(configured, f"{name}.social", renamed)

    for number, kill_at in enumerate((*KILLS, None)):
        worker = WorkerProcess(variables, tmp_path / f"worker-{number}.log")
        try:
            worker.wait_ready()
            wanted = kill_at or len(rows)
            wait(lambda wanted=wanted: asyncio.run(received(configured)) >= wanted, worker)  # type: ignore[misc]
            if kill_at is None:
                wait(lambda: asyncio.run(windows_are_read(configured)) and alerts_in(configured), worker)
        finally:
            worker.kill()
    found = alerts_in(configured)
    assert set(found.values()) == {1}
    assert {(key, direction) for _, key, direction in found} == {("social", "down")}
