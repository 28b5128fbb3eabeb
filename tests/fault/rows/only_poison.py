"""Nothing but poison: the limit ends the worker before it dead-letters everything."""

from __future__ import annotations

from itertools import cycle, islice

from tests.fault.line import line
from tests.fault.posts import POISON
from tests.fault.row import Row, Trial, hold

RECORDS = 3000
LIMIT = 100
TOO_MANY = 78


def run(trial: Trial) -> None:
    """A limit of 100 in a row; then, limits raised, the rest goes through."""
    with line(trial, dead_letter_max_consecutive=f"{LIMIT}") as tested:
        for _ in range(trial.repeats):
            before = tested.published()
            tested.send(islice(cycle(POISON[:3]), RECORDS))
            worker = tested.start()
            status = worker.wait()
            hold(status == TOO_MANY, f"the worker ended with {status}")
            hold(bool(worker.logged("too_many_dead_letters")), "no alert in the log")
            dead = tested.published() - before
            hold(dead <= LIMIT, f"{dead} dead letters, {LIMIT} in a row are allowed")
            tested.workers.clear()
            trial.figures.repeats += 1
            trial.figures.notes["dead letters before the end"] = dead
            tested.start(dead_letter_max_consecutive="100000", dead_letter_max_share="1")
            tested.finish()
            tested.stop()
        tested.audit(trial.figures)


ROW = Row(
    number="17",
    fault="100 % poison",
    promise="the limit ends the worker with an alert; nothing lost",
    repeats=3,
    run=run,
)
