"""Everything is read again from offset 0, twice, and workers are replaced one by one under load."""

from __future__ import annotations

from tests.fault.line import line
from tests.fault.posts import posts, with_poison
from tests.fault.row import Row, Trial, hold
from tests.fault.rows.scale import steady

RECORDS = 4000


def run(trial: Trial) -> None:
    """Two further groups read all inputs; then three workers replace three others while posts come."""
    with line(trial) as tested:
        first = tested.start()
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
        with steady(trial, tested):
            for _ in range(trial.repeats):
                for worker in list(tested.workers):
                    tested.start()
                    tested.ready()
                    worker.stop()
                    tested.workers.remove(worker)
                    trial.figures.recovered(tested.progress())
                trial.figures.repeats += 1
        hold(first not in tested.workers, "the first worker still runs")
        tested.send(posts(100, trial.random))
        tested.finish()
        tested.stop()
        tested.audit(trial.figures)


ROW = Row(
    number="22",
    fault="all read again from offset 0, twice; workers replaced one by one under load (same version)",
    promise="counters unchanged, 0 missing",
    repeats=3,
    run=run,
)
