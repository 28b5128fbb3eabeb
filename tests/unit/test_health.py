"""The health server: live while the process runs, ready while records flow, on loopback."""

from __future__ import annotations

import asyncio

import aiohttp

from worker.settings import load_settings
from worker.stream.health import serve


async def answers(missing: list[str | None]) -> list[tuple[str, int, str]]:
    """What each address answers, for each state of readiness."""
    state: list[str | None] = [None]
    runner, port = await serve("127.0.0.1", 0, lambda: state[0])
    found = []
    try:
        async with aiohttp.ClientSession(f"http://127.0.0.1:{port}") as session:
            for state[0] in missing:
                for path in ("/live", "/ready", "/metrics"):
                    async with session.get(path) as response:
                        found.append((path, response.status, await response.text()))
    finally:
        await runner.cleanup()
    return found


def test_a_worker_that_waits_is_live_and_not_ready() -> None:
    """A supervisor must not kill what waits for a server; a load balancer must not count on it."""
    (live, ready, metrics) = asyncio.run(answers(["enrich: a server does not answer"]))
    assert live == ("/live", 200, "live\n")
    assert ready == ("/ready", 503, "enrich: a server does not answer\n")
    assert metrics[1] == 200
    assert "polyvox_records_total" in metrics[2]


def test_readiness_is_asked_each_time() -> None:
    """Ready, away, ready again: no answer is remembered."""
    found = asyncio.run(answers([None, "waiting for partitions", None]))
    assert [status for path, status, _ in found if path == "/ready"] == [200, 503, 200]


def test_it_listens_on_loopback_unless_told_otherwise() -> None:
    """Metrics are nobody else's business."""
    assert load_settings().health_host == "127.0.0.1"
