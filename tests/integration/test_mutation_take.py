"""Faust's `take()` acknowledges what was only handed over: the kill test notices it in the commit path."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from kafka import KafkaConsumer, TopicPartition

from tests.integration.test_stream import Line, line, posts, wait_for
from worker.settings import REPOSITORY

pytestmark = pytest.mark.integration
__all__ = ["line"]

SHIPPED = "async for event in stream.noack().events():"
MUTANT = "async for event in _taken(stream):"
TAKEN = """

async def _taken(stream):
    async for events in stream.take_events(1, within=0.1):
        for event in events:
            yield event
"""
RECORDS = 600


def committed(line: Line) -> int:
    """How many records of the first input topic the group has committed."""
    consumer = KafkaConsumer(
        bootstrap_servers=line.addresses.kafka, group_id=f"{line.name}.all", enable_auto_commit=False
    )
    try:
        topic = f"{line.name}.social"
        return sum(consumer.committed(TopicPartition(topic, number)) or 0 for number in range(2))
    finally:
        consumer.close()


def missing_after_kill(line: Line, root: Path) -> int:
    """Records without an outcome, after a slow worker from `root` was killed and a shipped one did the rest."""
    line.produce(posts(RECORDS))
    slow = line.start(root, POLYVOX_BATCHES_IN_FLIGHT="1", POLYVOX_BATCH_POSTS="1", POLYVOX_COMMIT_INTERVAL_S="0.1")
    wait_for(lambda: committed(line) >= 50, "50 committed records")
    slow.kill()
    slow.wait()
    line.workers.clear()
    line.start()
    line.produce([b"last", b"last", b"last", b"last"])
    wait_for(lambda: sum(reason == "not_json" for reason in line.reasons()) == 4, "the last records")
    return line.produced - len(line.outcomes())


def test_shipped_code_loses_nothing(line: Line) -> None:
    """With the shipped agent, no committed record is without its outcome."""
    assert missing_after_kill(line, REPOSITORY) == 0


def test_mutant_with_take_loses_records(line: Line, tmp_path: Path) -> None:
    """With `take_events` in the agent, the same scenario finds lost records."""
    shutil.copytree(REPOSITORY / "worker", tmp_path / "worker", ignore=shutil.ignore_patterns("__pycache__"))
    build = tmp_path / "worker" / "stream" / "build.py"
    source = build.read_text(encoding="utf-8")
    assert source.count(SHIPPED) == 1
    build.write_text(source.replace(SHIPPED, MUTANT) + TAKEN, encoding="utf-8")
    assert missing_after_kill(line, tmp_path) > 0
