"""Commands against a real broker and a real Redis."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from typer.testing import CliRunner, Result

from worker.cli import app
from worker.events import DeadLetter, SourcePosition, dead_letter_headers
from worker.feeds.connect import producer
from worker.feeds.topics import ensure_topics, topic_ids
from worker.local.stack import Addresses
from worker.settings import REPOSITORY, Settings, settings

pytestmark = pytest.mark.integration

runner = CliRunner()
POST = '{"id": "1", "source": "x", "published_at": "2025-01-02T03:04:05Z", "text": "hello"}'


@pytest.fixture
def configured(servers: Addresses, monkeypatch: pytest.MonkeyPatch) -> Iterator[Settings]:
    """Settings with topics of this test alone; the topics exist."""
    name = f"cli-{uuid4().hex[:8]}"
    for variable, value in {
        "KAFKA_BROKERS": servers.kafka,
        "REDIS_URL": servers.redis_url,
        "INFERENCE": "embedded",
        "MODELS_DIR": str(REPOSITORY / "tests" / "fixtures" / "tiny_models"),
        "APP_ID": name,
        "INPUT_TOPICS": f"{name}.social=social,{name}.financial=financial",
        "ENRICHED_TOPIC": f"{name}.enriched",
        "DEAD_LETTERS_TOPIC": f"{name}.dead",
        "ALERTS_TOPIC": f"{name}.alerts",
        "PARTITIONS": "1",
        "HEALTH_PORT": "9",
    }.items():
        monkeypatch.setenv(f"POLYVOX_{variable}", value)
    settings.cache_clear()
    ensure_topics(settings())
    yield settings()
    settings.cache_clear()


def run(*arguments: str, stdin: str | None = None) -> Result:
    """Run a command."""
    return runner.invoke(app, list(arguments), input=stdin)


def objects(ended: Result) -> list[dict[str, Any]]:
    """The objects on standard output, one a line."""
    return [json.loads(line) for line in ended.stdout.splitlines()]


def dead_letter(configured: Settings, offset: int, reason: str) -> str:
    """Write a dead letter of the first input topic; its event id."""
    topic, topic_id = next(iter(topic_ids(configured).items()))
    position = SourcePosition(topic, topic_id, 0, offset)
    letter = DeadLetter(event_id=position.event_id, position=position, broker_ms=1, stage="decode", reason=reason)
    with producer(configured) as client:
        key, headers = letter.event_id.encode(), dead_letter_headers(letter)
        client.send(configured.dead_letters_topic, key=key, value=b"bytes %d" % offset, headers=headers).get()
    return letter.event_id


def test_produce_reports_bad_rows_and_goes_on(configured: Settings, tmp_path: Path) -> None:
    """Each bad row is named by file and line; the others are in the topic; 1, and 0 when all rows were good."""
    file = tmp_path / "posts.jsonl"
    file.write_text(f"{POST}\nnot json\n{POST}\n")
    ended = run("produce", str(file), "--json")
    assert ended.exit_code == 1
    assert f"{file}:2: not_json" in ended.stderr
    assert "2 sent, 1 bad rows, 0 not delivered" in ended.stderr
    [counts] = objects(ended)
    assert (counts["sent"], counts["bad"], counts["topic"]) == (2, 1, next(iter(configured.input_topics)))
    assert run("produce", "-", stdin=POST).exit_code == 0
    records = objects(run("tail", counts["topic"], "--from-beginning", "--count", "3", "--json"))
    assert [record["value"]["text"] for record in records] == ["hello"] * 3


def test_produce_warns_of_a_topic_that_no_worker_reads(configured: Settings) -> None:
    """It is a mistake more often than not, and allowed."""
    ended = run("produce", "-", "--topic", f"{configured.app_id}.other", stdin=POST)
    assert ended.exit_code == 0
    assert "POLYVOX_INPUT_TOPICS" in ended.stderr


def test_tail_shows_one_line_for_each_record(configured: Settings) -> None:
    """Without --json, for people."""
    event_id = dead_letter(configured, 3, "not_json")
    ended = run("tail", configured.dead_letters_topic, "--from-beginning", "--count", "1")
    assert ended.exit_code == 0
    [line] = ended.stdout.splitlines()
    assert event_id in line
    assert "not_json" in line


def test_dead_letters_are_listed_and_requeued(configured: Settings) -> None:
    """By reason, as a table or JSON; the requeued record carries its origin; nothing goes without a yes."""
    event_ids = [dead_letter(configured, 0, "not_json"), dead_letter(configured, 1, "bad_utf8")]
    table = run("dead-letters", "list")
    assert all(event_id in table.stdout for event_id in event_ids)
    [listed] = objects(run("dead-letters", "list", "--reason", "bad_utf8", "--json"))
    assert (listed["event_id"], listed["value"], listed["resolved"]) == (event_ids[1], "bytes 1", False)
    unasked = run("dead-letters", "requeue", "--all")
    assert unasked.exit_code == 2
    assert "--yes" in unasked.stderr
    ended = run("dead-letters", "requeue", "--yes", event_ids[0], "0" * 32)
    assert ended.exit_code == 1
    assert "1 requeued, 0 not" in ended.stderr
    assert "0" * 32 in ended.stderr
    [requeued] = objects(run("tail", next(iter(configured.input_topics)), "--from-beginning", "-n", "1", "--json"))
    assert requeued["value"] == "bytes 0"


def test_status_is_fine_when_all_servers_answer(configured: Settings) -> None:
    """Lag by stage, dead letters, the model's version; 0."""
    topic = next(iter(configured.input_topics))
    run("produce", "-", "--topic", topic, stdin=f"{POST}\n{POST}")
    dead_letter(configured, 0, "not_json")
    ended = run("status", "--json")
    [found] = objects(ended)
    assert (ended.exit_code, [name for name, check in found.items() if check["problem"]]) == (0, [])
    assert found["kafka"]["facts"]["lag"] == {"enrich": 2, "aggregate": 1}
    assert found["kafka"]["facts"]["dead_letters"] == 1
    assert found["triton"]["facts"]["model"].startswith("analyzer:")
    table = run("status")
    assert table.exit_code == 0
    assert "enrich is 2 records behind" in " ".join(table.stdout.split())
