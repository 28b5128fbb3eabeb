"""The output topic takes no record of the size that the worker was told: nothing is acknowledged, and it ends."""

from __future__ import annotations

import time

from kafka.admin import ConfigResource, ConfigResourceType

from tests.fault.line import Line, line
from tests.fault.posts import posts
from tests.fault.process import Process
from tests.fault.row import Row, Trial, hold
from worker.feeds.connect import admin

POSTS = 500
FAILED = 70
ENDS_S = 60.0
TINY_BYTES = "200"
USUAL_BYTES = "1048588"


def run(trial: Trial) -> None:
    """The broker's limit is cut under the size of a batch; the worker ends; the limit is put right, and it goes on."""
    with line(trial) as tested:
        for _ in range(trial.repeats):
            tested.start()
            tested.send(posts(POSTS, trial.random))
            tested.finish()
            committed = tested.committed()
            _limit(tested, TINY_BYTES)
            tested.send(posts(POSTS, trial.random))
            (worker,) = tested.workers
            _until_ended(tested, worker, committed)
            hold(worker.ended() == FAILED, f"the worker ended with {worker.ended()}")
            hold(bool(worker.logged("worker_failed")), "no alert in the log")
            trial.figures.repeats += 1
            _limit(tested, USUAL_BYTES)
            published = tested.published()
            tested.replace_ended()
            trial.figures.recovered(tested.progress(since=published))
            tested.finish()
            tested.stop()
        tested.audit(trial.figures)


def _until_ended(tested: Line, worker: Process, committed: int) -> None:
    ends_at = time.monotonic() + ENDS_S
    while worker.ended() is None:
        hold(tested.committed() == committed, "something was committed that is not published")
        hold(time.monotonic() < ends_at, f"the worker still runs after {ENDS_S:.0f} s")
        time.sleep(0.1)  # between two looks
    hold(tested.committed() == committed, "something was committed that is not published")


def _limit(tested: Line, size_bytes: str) -> None:
    topic = tested.settings.enriched_topic
    with admin(tested.settings) as client:
        client.alter_configs([ConfigResource(ConfigResourceType.TOPIC, topic, {"max.message.bytes": size_bytes})])


ROW = Row(
    number="18",
    fault="output topic refuses the records as too large",
    promise="no ack, no commit, the worker ends with an alert; nothing lost",
    repeats=3,
    run=run,
)
