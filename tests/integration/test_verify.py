"""`polyvox verify` against a real broker and a real Redis."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys

import pytest

from tests.integration.line import POISON, Line, posts, wait_for
from worker.opinion.client import Link

pytestmark = pytest.mark.integration


def verified(line: Line, *options: str) -> tuple[int, str]:
    """The exit code, and what was printed."""
    command = [sys.executable, "-m", "worker", "verify", *options]
    done = subprocess.run(
        command, env={**os.environ, **line.settings}, capture_output=True, text=True, timeout=60, check=False
    )
    return done.returncode, done.stdout


def damage(line: Line) -> str:
    """Add one to a cell of a day; the key."""

    async def main() -> str:
        link = Link(line.addresses.redis_url, 5.0)
        key = str(min([name async for name in link.redis.scan_iter("polyvox:*:posts:d:*")]))
        field = next(name for name in await link.redis.hkeys(key) if str(name).isdigit())
        first, _, rest = str(await link.redis.hget(key, field)).partition(" ")
        await link.redis.hset(key, field, f"{int(first) + 1} {rest}")
        await link.aclose()
        return key

    return asyncio.run(main())


def test_a_healthy_line_passes_and_a_damaged_key_is_named(line: Line) -> None:
    """Posts, poison, tombstones, a second reading of everything: exit 0; one cell off by one: exit 1, and its key."""
    line.start()
    line.produce([*posts(150), *POISON, None])
    line.applied(line.produced)
    line.start(POLYVOX_APP_ID=f"{line.name}-again", POLYVOX_ROLE="enrich")
    wait_for(lambda: min(line.outcomes().values()) == 2, "every outcome twice")
    line.stop()
    code, printed = verified(line, "--json")
    report = json.loads(printed)
    assert code == 0, report
    assert report["repeated"] == {"none": line.produced}
    assert sum(each["last"] + 1 for each in report["inputs"] if each["last"] is not None) == line.produced
    key = damage(line)
    code, printed = verified(line)
    assert code == 1
    assert f"counter: {key}" in printed
    assert "✗ 1 counter" in printed
