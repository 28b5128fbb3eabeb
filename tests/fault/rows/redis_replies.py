"""The reply of Redis is lost after the call was applied: the worker repeats the call, and nothing counts twice."""

from __future__ import annotations

from dataclasses import replace

from tests.fault.line import line
from tests.fault.posts import posts
from tests.fault.proxy import LostReplies
from tests.fault.row import Row, Trial, hold

POSTS_A_REPLY = 24
BATCH = 8


def run(trial: Trial) -> None:
    """Every second reply to a script that counts is dropped, with its connection."""
    with LostReplies(trial.rig.redis_url, trial.random, trial.repeats) as proxy:
        through = replace(trial.rig.addresses, redis_url=proxy.url)
        with line(trial, through=through, aggregate_batch=str(BATCH), aggregate_wait_ms="5") as tested:
            tested.start()
            tested.send(posts(POSTS_A_REPLY * trial.repeats, trial.random))
            tested.finish(600)
            tested.stop()
            trial.figures.repeats = proxy.lost
            tested.audit(trial.figures)
        hold(proxy.lost >= trial.repeats, f"only {proxy.lost} of {trial.repeats} replies were lost")


ROW = Row(number="14", fault="Redis' reply lost", promise="counters exact", repeats=1000, run=run)
