"""`polyvox replay` beside a worker under load, with a real broker and a real Redis."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import TypeVar

import pytest

from tests.integration.line import POISON, Line, posts
from worker.opinion.answers import Point, Window
from worker.opinion.client import Link
from worker.opinion.queries import Queries
from worker.opinion.reader import RedisReader
from worker.settings import load_settings

pytestmark = [pytest.mark.integration, pytest.mark.slow]

Answer = TypeVar("Answer")


def command(line: Line, *words: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "worker", *words],
        env={**os.environ, **line.settings},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def replay_today(line: Line) -> subprocess.Popen[str]:
    """Yesterday to tomorrow, so that midnight does not matter."""
    now = datetime.now(UTC)
    begin, end = (now + timedelta(days=days) for days in (-1, 1))
    return command(line, "replay", "--from", begin.date().isoformat(), "--to", end.isoformat(), "--json")


def answered(process: subprocess.Popen[str]) -> dict[str, object]:
    """The JSON of a command that must succeed."""
    printed, said = process.communicate(timeout=120)
    assert process.returncode == 0, printed + said
    found: dict[str, object] = json.loads(printed)
    return found


def ask(line: Line, question: Callable[[Link], Awaitable[Answer]]) -> Answer:
    async def main() -> Answer:
        link = Link(line.addresses.redis_url, 5.0)
        try:
            return await question(link)
        finally:
            await link.aclose()

    return asyncio.run(main())


def series(line: Line, moment: datetime) -> list[Point]:
    window = Window("hour", moment - timedelta(hours=3), moment)
    return ask(line, lambda link: Queries(RedisReader(link), load_settings()).series(window))


async def damage(link: Link) -> None:
    """A counter that is off by one, a bucket that is gone, and the entities of a day."""
    key = str(min([name async for name in link.redis.scan_iter("polyvox:*:posts:d:*")]))
    field = next(name for name in await link.redis.hkeys(key) if str(name).isdigit())
    first, _, rest = str(await link.redis.hget(key, field)).partition(" ")
    await link.redis.hset(key, field, f"{int(first) + 1} {rest}")
    for kind in ("posts:h", "forms:d"):
        async for name in link.redis.scan_iter(f"polyvox:*:{kind}:*"):
            await link.redis.unlink(name)
            break


def test_a_replay_heals_beside_a_worker_under_load(line: Line) -> None:
    """Counted anew while posts come in: `verify` finds nothing, and answers stay through another replay."""
    line.start()
    line.produce([*posts(400), *POISON, None])
    line.applied(line.produced)
    ask(line, damage)
    assert command(line, "verify").wait(60) == 1
    running, number = replay_today(line), 1000
    while running.poll() is None:
        line.produce(posts(50, number))
        number += 50
    replayed = answered(running)
    assert len(replayed["partitions"]) >= 2  # type: ignore[arg-type]
    line.applied(line.produced)
    assert line.stop() == [0]
    assert answered(command(line, "verify", "--json"))["holds"] is True
    now = datetime.now(UTC)
    before, totals = series(line, now), line.totals()
    assert sum(point.measures.analysed for point in before) == totals.analysed
    answered(replay_today(line))
    assert (series(line, now), line.totals()) == (before, totals)
    assert answered(command(line, "verify", "--json"))["holds"] is True


def test_after_a_killed_replay_the_next_one_heals(line: Line) -> None:
    """SIGKILL once it has begun to stage: nothing stays behind the replay that follows, and `verify` finds nothing."""
    line.start()
    line.produce(posts(3000))
    line.applied(line.produced)
    line.stop()
    ask(line, damage)
    killed = replay_today(line)

    async def staged(link: Link) -> list[str]:
        return [str(name) async for name in link.redis.scan_iter("polyvox:{*}:replay:*")]

    while killed.poll() is None and not ask(line, staged):
        pass
    killed.kill()
    killed.communicate()
    answered(replay_today(line))
    assert ask(line, staged) == []
    assert answered(command(line, "verify", "--json"))["holds"] is True
