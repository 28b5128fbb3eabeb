"""Exceptions of Kafka's, Redis' and Triton's clients, and one that nobody expects, at each call of theirs."""

from __future__ import annotations

import contextlib
import time

from tests.fault.inject import CALLS
from tests.fault.line import DEADLINE_S, Line, line
from tests.fault.posts import posts
from tests.fault.process import Process
from tests.fault.row import Row, Trial, hold
from worker.errors import Transient

POSTS = 600
PASSINGS = 3
IDLE_S = 60.0


def run(trial: Trial) -> None:
    """One worker for each call and exception: it finishes the work, or ends non-zero and its successor does."""
    with line(trial, stalled_after_s="30", pool_posts="128", aggregate_batch="32") as tested:
        tested.send(posts(POSTS, trial.random))
        outcomes: list[str] = []
        for number in range(trial.repeats):
            call = list(CALLS)[number % len(CALLS)]
            tested.send(posts(POSTS, trial.random))
            passing = 1 if CALLS[call].at_start else trial.random.randint(2, PASSINGS)
            worker = tested.start("-m", "tests.fault.inject", call, f"{passing}")
            started_s = time.monotonic()
            _watch(tested, worker, call)
            trial.figures.repeats += 1
            trial.figures.recovered(time.monotonic() - started_s)
            if worker.ended() is None:
                tested.stop()
                continue
            hold(worker.ended() != 0, f"{call}: the worker ended with 0 in the middle of its work")
            outcomes.append(f"{call} ({worker.ended()})")
            tested.workers.clear()
        trial.figures.notes["ended the worker"] = "; ".join(outcomes) or "none"
        tested.start()
        tested.finish()
        tested.stop()
        tested.audit(trial.figures)


def _watch(tested: Line, worker: Process, call: str) -> None:
    """Until all is done, or the worker ended; it may not be idle before."""
    moved_s, seen = time.monotonic(), (0, 0, 0)
    while worker.ended() is None:
        with contextlib.suppress(Transient):  # the broker of a first row may have no coordinator yet
            published, applied, behind = tested.published(), tested.applied(), tested.behind()
            if behind == 0 and applied == published:
                return
            if (published, applied, behind) != seen:
                moved_s, seen = time.monotonic(), (published, applied, behind)
        limit_s = IDLE_S if worker.health else DEADLINE_S  # before it has started nothing moves
        hold(time.monotonic() - moved_s < limit_s, f"{call}: alive and idle for {limit_s:.0f} s")
        time.sleep(0.2)  # between two looks


ROW = Row(
    number="20",
    fault="exceptions of foreign libraries at each call",
    promise="handled, or the process exits non-zero; never alive and idle for 60 s",
    repeats=len(CALLS),
    run=run,
)
