"""Everything is read again from offset 0, twice; an older worker is replaced by this one under load, and back."""

from __future__ import annotations

from itertools import cycle, islice

from tests.fault.line import line
from tests.fault.older import older_worker
from tests.fault.posts import posts, with_poison
from tests.fault.row import Row, Trial, hold
from tests.fault.rows.scale import steady

RECORDS = 4000
WORKERS = 2


def run(trial: Trial) -> None:
    """Two further groups read all inputs; then two older workers are replaced one by one while posts come.

    Upgrade, roll back, upgrade: each repeat is one of these.
    """
    before_root, revision = older_worker(trial.rig.directory)
    with line(trial) as tested:
        tested.start()
        tested.send(with_poison(RECORDS, 0.01, trial.random))
        tested.finish()
        before = tested.totals()
        for number in range(2):
            due = tested.published() + RECORDS
            again = tested.start(app_id=f"{tested.settings.app_id}-again{number}", role="enrich")
            tested.wait(lambda due=due: tested.published() >= due, "every outcome once more")
            again.stop()
            tested.workers.remove(again)
            tested.finish()
        hold(tested.totals() == before, f"counters changed from {before} to {tested.totals()}")
        tested.stop()
        tested.root = before_root
        for _ in range(WORKERS):
            tested.start()
        tested.ready()
        with steady(trial, tested):
            for tested.root in islice(cycle((trial.root, before_root)), trial.repeats):
                for worker in list(tested.workers):
                    tested.start()
                    tested.ready()
                    worker.stop()
                    tested.workers.remove(worker)
                    trial.figures.recovered(tested.progress())
                trial.figures.repeats += 1
        trial.figures.notes["upgraded from"] = revision or "itself"
        tested.send(posts(100, trial.random))
        tested.finish()
        tested.stop()
        tested.audit(trial.figures)


ROW = Row(
    number="22",
    fault="all read again from offset 0, twice; workers of the last report's version replaced under load, and back",
    promise="counters unchanged, 0 missing",
    repeats=3,
    run=run,
)
