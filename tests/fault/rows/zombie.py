"""A worker stands still for longer than its session, loses its partitions, and wakes up in the middle of its work."""

from __future__ import annotations

import signal
import time

from tests.fault.line import line
from tests.fault.posts import posts
from tests.fault.row import Row, Trial

POSTS_A_STOP = 6000
STOPPED_S = 8.0
"""More than twice the session's 3 s."""


def run(trial: Trial) -> None:
    """Of two workers one is stopped under load; the other takes over, then the first goes on where it was."""
    with line(trial) as tested:
        tested.start()
        tested.start()
        tested.ready()
        ended = 0
        for _ in range(trial.repeats):
            published = tested.published()
            tested.send(posts(POSTS_A_STOP, trial.random))
            tested.progress(since=published)
            zombie = trial.random.choice(tested.workers)
            zombie.signal(signal.SIGSTOP)
            time.sleep(STOPPED_S)  # the fault is a time
            zombie.signal(signal.SIGCONT)
            trial.figures.repeats += 1
            trial.figures.notes["woken workers that ended"] = ended = ended + tested.replace_ended()
        tested.finish(300)
        trial.figures.notes["rebalances"] = tested.rebalances()
        tested.stop()
        tested.audit(trial.figures)


ROW = Row(
    number="6",
    fault="SIGSTOP past the session timeout, then SIGCONT",
    promise="counters exact",
    repeats=5,
    run=run,
)
