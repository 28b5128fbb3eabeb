"""SIGTERM in the middle of the work: what was read is finished, and nothing is written twice."""

from __future__ import annotations

from tests.fault.line import line
from tests.fault.posts import posts
from tests.fault.row import Row, Trial, hold

POSTS_A_STOP = 4000
EXIT_S = 15.0


def run(trial: Trial) -> None:
    """One worker after another, each stopped while records wait."""
    with line(trial) as tested:
        slowest_s = 0.0
        for _ in range(trial.repeats):
            tested.send(posts(POSTS_A_STOP, trial.random))
            tested.start()
            trial.figures.recovered(tested.progress())
            slowest_s = max(slowest_s, tested.stop())
            trial.figures.repeats += 1
        trial.figures.notes["slowest exit"] = f"{slowest_s:.1f} s"
        tested.start()
        tested.finish()
        tested.stop()
        tested.audit(trial.figures)
        trial.figures.within(slowest_s, EXIT_S, "the exit of a worker")
        hold(trial.figures.duplicates == 0, f"{trial.figures.duplicates} outcomes were written twice")


ROW = Row(
    number="2", fault="SIGTERM under load", promise="exit within 15 s, 0 missing, 0 duplicates", repeats=20, run=run
)
