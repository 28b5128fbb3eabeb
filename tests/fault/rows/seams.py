"""SIGKILL at each step of the commit path: before and after publish, after infer, after Redis, after the acks."""

from __future__ import annotations

import signal
import time

from tests.fault.line import line
from tests.fault.posts import posts
from tests.fault.row import Row, Trial, hold
from tests.fault.seams import SEAMS

POSTS_A_KILL = 200
PASSINGS = 4
KILLED = 128 + signal.SIGKILL


def run(trial: Trial) -> None:
    """Each worker dies at the seam that is next; the last one does the rest."""
    with line(trial, pool_posts="128", aggregate_batch="32") as tested:
        seams = list(SEAMS)
        for number in range(trial.repeats):
            tested.send(posts(POSTS_A_KILL, trial.random))
            seam = seams[number % len(seams)]
            passing = trial.random.randint(1, PASSINGS)
            worker = tested.start("-m", "tests.fault.seams", seam, str(passing))
            before, started_s = tested.published(), time.monotonic()
            status = worker.wait()
            hold(status == KILLED, f"the worker ended with {status} at {seam}, passing {passing}")
            tested.workers.remove(worker)
            trial.figures.repeats += 1
            if tested.published() > before:
                trial.figures.recovered(time.monotonic() - started_s)
        tested.start()
        tested.finish()
        tested.stop()
        tested.audit(trial.figures)


ROW = Row(
    number="5",
    fault="SIGKILL at each commit seam",
    promise="0 missing, counters exact",
    repeats=100,
    run=run,
)
