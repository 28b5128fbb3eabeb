"""Logs that are not plain: transaction markers and aborted records, a log start behind the position, a new topic."""

from __future__ import annotations

import time

from kafka import KafkaProducer, TopicPartition
from kafka.admin import OffsetSpec
from kafka.errors import NoError

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
    """Records expire unread while no worker runs: the next one stops, and says how many."""
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
        status = worker.wait(REFUSES_S)
        hold(status != 0, f"the worker ended with 0 over {gone} expired records")
        said = [str(line["error"]) for line in worker.logged("worker_failed")]
        hold(any("expired unread" in line for line in said), f"the error does not say so: {said}")


def recreated(trial: Trial) -> None:
    """An input topic is deleted and made again under a worker, which ends; the next ones refuse until told."""
    with line(trial) as tested:
        for _ in range(trial.repeats):
            worker = tested.start()
            tested.send(posts(POSTS, trial.random))
            _all_counted(tested)
            topic = next(iter(tested.settings.input_topics))
            _recreate(tested, topic)
            tested.send(posts(2 * POSTS, trial.random))
            started_s = time.monotonic()
            _refuses(tested, worker, topic)
            trial.figures.recovered(time.monotonic() - started_s)
            trial.figures.repeats += 1
            _refuses(tested, tested.start(), topic)
            _to_earliest(tested, topic)
            tested.start(recreated_topics="accept")
            _all_counted(tested)
            tested.stop()
        received = tested.totals().received  # an audit would ask for the old topic's records, too
        hold(received == tested.produced, f"{tested.produced} records sent, {received} counted")


def _all_counted(tested: Line) -> None:
    """As `Line.finish`, which would count the positions of an old and a new topic together."""
    tested.wait(lambda: tested.totals().received >= tested.produced, "every record counted")
    tested.wait(lambda: tested.behind() == 0, "every record committed")


def _recreate(tested: Line, topic: str) -> None:
    """Leaves the topic empty, under a new id."""
    with admin(tested.settings) as client:
        client.delete_topics([topic])
    ends_at = time.monotonic() + REFUSES_S
    while not _gone(tested, topic):
        hold(time.monotonic() < ends_at, f"the topic is not deleted after {REFUSES_S:.0f} s")
        time.sleep(0.1)  # between two looks
    ensure_topics(tested.settings)


def _refuses(tested: Line, worker: Process, topic: str) -> None:
    status = worker.wait(REFUSES_S)
    hold(status != 0, "the worker ended with 0 over a recreated topic")
    said = [str(line["error"]) for line in worker.logged("worker_failed")]
    hold(any(topic in line and "made again" in line for line in said), f"the error does not say so: {said}")
    tested.workers.remove(worker)


def _to_earliest(tested: Line, topic: str) -> None:
    """As the error advises; possible once the group has noticed that its last member is gone."""
    group = f"{tested.settings.app_id}.{tested.settings.role}"
    places = {TopicPartition(topic, partition): OffsetSpec.EARLIEST for partition in range(PARTITIONS)}
    ends_at = time.monotonic() + REFUSES_S
    with admin(tested.settings) as client:
        while any(each["error"] is not NoError for each in client.reset_group_offsets(group, places).values()):
            hold(time.monotonic() < ends_at, f"the offsets of {group} cannot be set")
            time.sleep(0.5)  # between two tries


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
    promise="stopped with a clear error",
    repeats=1,
    run=below_start,
)
RECREATED = Row(
    number="19c",
    fault="input topic deleted and recreated under a worker",
    promise="the worker ends with a clear error, the next one refuses, none is lost once it is accepted",
    repeats=3,
    run=recreated,
)
