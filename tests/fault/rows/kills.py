"""SIGKILL of workers: any of three under load (row 1), and one again and again while it starts (row 3)."""

from __future__ import annotations

import time

from tests.fault.line import Line, line
from tests.fault.posts import posts
from tests.fault.row import Row, Trial, hold

WORKERS = 3
POSTS_A_KILL = 2000
IN_FLIGHT = 512
STARTS_POSTS = 20_000
CONSUMING_AGAIN_S = 60.0


def one_of_three(trial: Trial) -> None:
    """A random worker dies at a random moment of its work, and another takes its place."""
    with line(trial, pool_posts=str(IN_FLIGHT)) as tested:
        for _ in range(WORKERS):
            tested.start()
        tested.ready()
        started_s = time.monotonic()
        for _ in range(trial.repeats):
            published = tested.published()
            tested.send(posts(POSTS_A_KILL, trial.random))
            trial.figures.recovered(tested.progress(since=published))
            time.sleep(trial.random.uniform(0.0, 1.0))  # when it dies is the draw
            tested.kill(trial.random.choice(tested.workers))
            trial.figures.repeats += 1
            tested.start()
        tested.finish(600)
        rate = tested.produced / (time.monotonic() - started_s)
        tested.stop()
        tested.audit(trial.figures)
        bounded_repeats(trial, tested, rate)


def bounded_repeats(trial: Trial, tested: Line, rate: float) -> None:
    """Repeats are at most rebalances x total rate x commit interval + workers x in flight."""
    # Each kill is two rebalances: one without the dead worker, one with its successor.
    rebalances = 2 * trial.figures.repeats + WORKERS
    bound = rebalances * rate * tested.settings.commit_interval_s + WORKERS * IN_FLIGHT
    trial.figures.notes |= {"records": tested.produced, "records/s": round(rate), "repeats allowed": round(bound)}
    hold(trial.figures.duplicates <= bound, f"{trial.figures.duplicates} repeats, {bound:.0f} are explained")


def while_starting(trial: Trial) -> None:
    """A worker never lives longer than a second; then one is left alone."""
    with line(trial) as tested:
        tested.send(posts(max(500, STARTS_POSTS * trial.repeats // 30), trial.random))
        for _ in range(trial.repeats):
            worker = tested.start()
            time.sleep(trial.random.uniform(0.1, 1.0))  # when it dies is the draw
            tested.kill(worker)
            trial.figures.repeats += 1
        tested.start()
        trial.figures.recovered(tested.progress())
        trial.figures.within(trial.figures.worst_recovery_s, CONSUMING_AGAIN_S, "consuming again")
        tested.finish(600)
        tested.stop()
        tested.audit(trial.figures)


ANY = Row(
    number="1",
    fault="SIGKILL of a random worker of three",
    promise="0 missing, counters exact, repeats explained by rebalances and what was in flight",
    repeats=50,
    run=one_of_three,
)
STARTING = Row(
    number="3",
    fault="SIGKILL 0.1 to 1 s after each start",
    promise="0 missing, consuming again within 60 s of the last",
    repeats=30,
    run=while_starting,
)
