"""An input topic is compacted before it is read: keys that came again leave offsets without a record."""

from __future__ import annotations

import time

from kafka.admin import ConfigResource, ConfigResourceType

from tests.fault.line import DEADLINE_S, Line, line
from tests.fault.posts import posts
from tests.fault.row import Row, Trial, hold
from worker.feeds.connect import admin
from worker.feeds.stretch import stretches

KEYS = 300
ROUNDS = 3
EAGER = {
    "cleanup.policy": "compact",
    "segment.ms": "100",
    "min.cleanable.dirty.ratio": "0.01",
    "min.compaction.lag.ms": "0",
}
"""Each round of keys closes the segment of the last one, and what is closed is compacted at the broker's next look."""


def run(trial: Trial) -> None:
    """No worker runs while the same keys come several times; the next one reads what is left, to the end."""
    with line(trial) as tested:
        with admin(tested.settings) as client:
            client.alter_configs(
                [ConfigResource(ConfigResourceType.TOPIC, topic, EAGER) for topic in tested.settings.input_topics]
            )
        for _ in range(trial.repeats):
            for _ in range(ROUNDS):
                tested.send(posts(KEYS, trial.random))
                time.sleep(0.2)  # the age at which a segment is closed
            _await_compaction(tested)
            tested.start()
            tested.finish()
            tested.stop()
            trial.figures.repeats += 1
        tested.produced = tested.totals().received  # what went unread; `audit` counts what is there
        tested.audit(trial.figures)


def _await_compaction(tested: Line) -> None:
    """Wait until offsets between the first and the last record are empty, in each partition."""
    ends_at = time.monotonic() + DEADLINE_S
    while not _has_gaps(tested):
        hold(time.monotonic() < ends_at, f"nothing is compacted after {DEADLINE_S:.0f} s")
        time.sleep(0.5)  # between two looks


def _has_gaps(tested: Line) -> bool:
    with stretches(tested.settings) as log:
        spans = list(log.spans(list(tested.settings.input_topics)))
        left = [sum(1 for _ in log.records(each.topic, each.partition, each.begin, each.end)) for each in spans]
    return all(count <= (each.end - each.begin) * 0.9 for count, each in zip(left, spans, strict=True))


ROW = Row(
    number="19d",
    fault="compacted input topic",
    promise="commits reach the end, what is left is analysed",
    repeats=1,
    run=run,
)
