"""Logs that are not plain: transaction markers and aborted records, a log start behind the position, a new topic."""

from __future__ import annotations

import time

from kafka import KafkaProducer, TopicPartition

from tests.fault.line import PARTITIONS, Line, line
from tests.fault.posts import posts
from tests.fault.process import Process
from tests.fault.row import Row, Trial, hold
from worker.feeds.connect import admin
from worker.feeds.topics import ensure_topics

POSTS = 300
REFUSES_S = 60.0


def markers(trial: Trial) -> None:
    """Committed and aborted transactions leave offsets without a record; commits reach the end all the same."""
    with line(trial) as tested:
        tested.start()
        for number in range(trial.repeats):
            for commit in (True, False):
                _transaction(trial, tested, f"{number}-{commit}", commit=commit)
            for partition in range(PARTITIONS):
                tested.send(posts(20, trial.random), partition)
            trial.figures.repeats += 1
        tested.finish()
        tested.stop()
        tested.audit(trial.figures)


def _transaction(trial: Trial, tested: Line, name: str, *, commit: bool) -> None:
    producer = KafkaProducer(
        bootstrap_servers=tested.settings.kafka_brokers, transactional_id=f"{tested.settings.app_id}-{name}"
    )
    producer.init_transactions()
    producer.begin_transaction()
    topics = list(tested.settings.input_topics)
    for number, made in enumerate(posts(POSTS, trial.random)):
        producer.send(topics[number % 2], made.value, partition=number % PARTITIONS)
    producer.flush()
    if commit:
        producer.commit_transaction()
        tested.produced += POSTS
    else:
        producer.abort_transaction()
    producer.close()


def below_start(trial: Trial) -> None:
    """Records expire unread while no worker runs: the next one stops, or counts each of them as expired."""
    with line(trial) as tested:
        tested.start()
        tested.send(posts(POSTS, trial.random))
        tested.finish()
        tested.stop()
        sent = tested.send(posts(POSTS, trial.random))
        cut = {TopicPartition(topic, partition): 0 for _, topic, partition, _ in sent}
        for _, topic, partition, offset in sent:
            at = TopicPartition(topic, partition)
            cut[at] = max(cut[at], offset)  # all but the newest go
        with admin(tested.settings) as client:
            client.delete_records(cut)
        trial.figures.repeats += 1
        worker = tested.start()
        gone = len(sent) - len(cut)
        tested.send(posts(POSTS, trial.random))
        _until_decided(tested, worker)
        expired = tested.totals().expired
        stopped = worker.ended() is not None
        hold(stopped or expired == gone, f"the worker went on over {gone} expired records, {expired} are counted")


def recreated(trial: Trial) -> None:
    """An input topic is deleted and made again while no worker runs: the next one refuses, and says why."""
    with line(trial) as tested:
        tested.start()
        tested.send(posts(POSTS, trial.random))
        tested.finish()
        tested.stop()
        topic = next(iter(tested.settings.input_topics))
        with admin(tested.settings) as client:
            client.delete_topics([topic])
        tested.wait(lambda: _gone(tested, topic), "the topic is deleted", REFUSES_S)
        ensure_topics(tested.settings)
        tested.send(posts(10, trial.random))
        trial.figures.repeats += 1
        worker = tested.start()
        _until_decided(tested, worker)
        hold(worker.ended() is not None, "the worker reads a recreated topic as if it were the old one's next records")
        hold(topic in worker.log.read_text(), "the error does not name the topic")


def _until_decided(tested: Line, worker: Process) -> None:
    """Wait until the worker ended, or went on to the end."""
    ends_at = time.monotonic() + REFUSES_S
    while worker.ended() is None and tested.behind() > 0:
        hold(time.monotonic() < ends_at, f"the worker neither ends nor goes on for {REFUSES_S:.0f} s")
        time.sleep(0.1)  # between two looks


def _gone(tested: Line, topic: str) -> bool:
    with admin(tested.settings) as client:
        return topic not in client.list_topics()


MARKERS = Row(
    number="19",
    fault="transaction markers and aborted records in the input",
    promise="commits reach the end",
    repeats=5,
    run=markers,
)
BELOW = Row(
    number="19b",
    fault="position below the log's start",
    promise="stopped, or counted as expired",
    repeats=1,
    run=below_start,
)
RECREATED = Row(
    number="19c",
    fault="input topic deleted and recreated",
    promise="refused with a clear error",
    repeats=1,
    run=recreated,
)
