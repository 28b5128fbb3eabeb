"""A million posts wait, and the model is slow: what a worker holds of them is bounded."""

from __future__ import annotations

from tests.fault.line import Line, line
from tests.fault.posts import posts
from tests.fault.row import Row, Trial, hold
from tests.fault.rows.triton_sick import ASKED_EACH_TIME, watch

POSTS_A_REPEAT = 100_000
CHUNK = 20_000
POOL = 1024
FIRST_S = 15.0
WATCHED_S = 45.0
GROWTH = 0.10


def run(trial: Trial) -> None:
    """From a worker at work on a little to one with all of it before it, at full speed and ten times slower.

    Not from one at rest: it has given back what the records in flight need, 50 of 400 MB.
    """
    with (
        trial.rig.own_triton() as (_, addresses, model),
        line(trial, addresses, pool_posts=str(POOL), **ASKED_EACH_TIME) as tested,
    ):
        tested.start()
        tested.send(posts(CHUNK, trial.random))
        _, before = watch(tested, FIRST_S)
        tested.finish()
        tested.stop()
        _fill(trial, tested)
        tested.start()
        tested.progress()
        waiting, resident = watch(tested, WATCHED_S)
        model.become("slow 0.2")
        slow_waiting, slow_resident = watch(tested, WATCHED_S)
        grown = max(resident, slow_resident) / before - 1
        trial.figures.notes |= {
            "backlog": tested.behind(), "most waiting": max(waiting, slow_waiting),
            "memory": f"{grown:+.1%} of {before / 2**20:.0f} MB",
        }  # fmt: skip
        hold(max(waiting, slow_waiting) <= POOL, f"{max(waiting, slow_waiting)} records waiting, {POOL} are allowed")
        hold(grown <= GROWTH, f"the memory grew by {grown:.1%}")
        committed, published = tested.committed(), tested.published()  # in this order: both go on
        hold(committed <= published, f"{committed} records committed, {published} outcomes")


def _fill(trial: Trial, tested: Line) -> None:
    for _ in range(trial.repeats):
        for _ in range(POSTS_A_REPEAT // CHUNK):
            tested.send(posts(CHUNK, trial.random))
        trial.figures.repeats += 1


ROW = Row(
    number="12b",
    fault="a backlog of a million posts, then Triton 10x slower (100,000 posts a repeat)",
    promise="in flight bounded, memory +10 % at most",
    repeats=10,
    run=run,
)
