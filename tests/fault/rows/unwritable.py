"""The output topic takes no record of the size that the worker was told: nothing is acknowledged, and it ends."""

from __future__ import annotations

from kafka.admin import ConfigResource, ConfigResourceType

from tests.fault.line import Line, line
from tests.fault.posts import posts
from tests.fault.row import Row, Trial, hold
from worker.feeds.connect import admin
from worker.feeds.lag import lag

POSTS = 500
FAILED = 70
TINY_BYTES = "200"
USUAL_BYTES = "1048588"


def run(trial: Trial) -> None:
    """The broker's limit is cut under the size of a batch; the worker ends; the limit is put right, and it goes on."""
    with line(trial) as tested:
        for _ in range(trial.repeats):
            tested.start()
            tested.send(posts(POSTS, trial.random))
            tested.finish()
            committed = _committed(tested)
            _limit(tested, TINY_BYTES)
            tested.send(posts(POSTS, trial.random))
            (worker,) = tested.workers
            status = worker.wait(60)
            hold(status == FAILED, f"the worker ended with {status}")
            hold(bool(worker.logged("worker_failed")), "no alert in the log")
            hold(_committed(tested) == committed, "something was committed that is not published")
            trial.figures.repeats += 1
            _limit(tested, USUAL_BYTES)
            published = tested.published()
            tested.replace_ended()
            trial.figures.recovered(tested.progress(since=published))
            tested.finish()
            tested.stop()
        tested.audit(trial.figures)


def _committed(tested: Line) -> int:
    return sum(found.committed or 0 for found in lag(tested.settings) if found.stage == "enrich")


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
