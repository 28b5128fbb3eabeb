"""A worker under load for long, while its servers are killed and come back: nothing of it grows (row 21)."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from itertools import cycle, islice

from tests.apache_kafka.broker import Broker
from tests.fault.counted import TASKS
from tests.fault.growth import risen, slope
from tests.fault.line import Line, line
from tests.fault.posts import unlike
from tests.fault.process import Process
from tests.fault.row import Row, Trial, hold
from worker.stream.build import GIVE_BACK_S

FAULT_S = 45.0
REST_S = GIVE_BACK_S + 2.0
LOOK_S = 0.5
CHUNK = 2000
BACKLOG = 6000
WARM_FAULTS = 20
WARM_S = 8.0
"""Before what is measured, so many faults so far apart: caches fill, and the worker's memory reaches, in small steps,
what the backlog of an outage needs (docs/decisions/faults.md)."""

MB_PER_MILLION = 2.0
FLAT = 3
BOUNDED = {"seen_windows_mb": "4", "story_index_entries": "200000"}
"""What is meant to fill up, in the worker and in Redis, does so within the warm-up."""


@dataclass(frozen=True)
class Sample:
    """A worker at rest, and the records that were sent before."""

    records: int
    resident_mb: float
    handles: int
    tasks: float


def run(trial: Trial) -> None:
    """One fault a minute, of Triton, Redis and Kafka in turn, each with records waiting; the same in haste before."""
    with trial.rig.own_kafka(1) as ((broker,), addresses), line(trial, addresses, **BOUNDED) as tested:
        worker = tested.start("-m", "tests.fault.counted")
        tested.ready()
        faults = cycle(_faults(trial, broker))
        for fault in islice(faults, WARM_FAULTS):
            _hurt(trial, tested, fault, WARM_S)
        samples = [_at_rest(tested, worker)]
        for fault in islice(faults, trial.repeats):
            _hurt(trial, tested, fault, FAULT_S)
            samples.append(_at_rest(tested, worker))
            trial.figures.repeats += 1
        totals = tested.totals()
        tested.stop()
        hold(totals.received == tested.produced, f"{tested.produced} records sent, {totals.received} counted")
        hold(totals.dead_lettered == 0, f"{totals.dead_lettered} dead letters of outages")
        judge(trial, samples)


def _hurt(trial: Trial, tested: Line, fault: Callable[[], None], after_s: float) -> None:
    """Load, then a fault in the midst of it, until records flow again."""
    _feed(trial, tested, after_s)
    tested.send(unlike(CHUNK, trial.random))  # some of these wait while the server is away
    published = tested.published()
    fault()
    tested.send(unlike(CHUNK, trial.random))  # and these in any case, however fast the worker is
    trial.figures.recovered(tested.progress(since=published))


def _at_rest(tested: Line, worker: Process) -> Sample:
    """The least that a worker holds when nothing waits: in flight it is by 10 MB more or less from moment to moment."""
    tested.finish(600)
    looks: list[Sample] = []
    ends_at = time.monotonic() + REST_S
    while time.monotonic() < ends_at:
        tasks = worker.metric(TASKS)
        if tasks:  # 0: it did not answer
            looks.append(Sample(tested.produced, worker.resident_bytes / 2**20, worker.handles, tasks))
        time.sleep(LOOK_S)  # between two looks
    hold(bool(looks), "a worker at rest did not answer")
    return min(looks, key=lambda look: look.resident_mb)


def _faults(trial: Trial, broker: Broker) -> tuple[Callable[[], None], ...]:
    rig = trial.rig

    def triton() -> None:
        rig.triton_stack.kill("triton")
        rig.triton_stack.restart("triton")

    def redis() -> None:
        rig.redis_stack.kill("redis")
        rig.redis_stack.restart("redis")

    def kafka() -> None:
        broker.kill()
        broker.start()
        broker.wait()

    return triton, redis, kafka


def _feed(trial: Trial, tested: Line, seconds: float) -> None:
    """Keep records waiting, but not many."""
    ends_at = time.monotonic() + seconds
    while time.monotonic() < ends_at:
        if tested.produced - tested.published() < BACKLOG:
            tested.send(unlike(CHUNK, trial.random))
        else:
            time.sleep(0.1)  # between two looks


def judge(trial: Trial, samples: list[Sample]) -> None:
    """Note what grew, and hold it against the limits.

    Raises:
        Broken: something grew, or the run was too short to tell.
    """
    found = slope([each.records / 1e6 for each in samples], [each.resident_mb for each in samples])
    handles, tasks = (risen([getattr(each, name) for each in samples]) for name in ("handles", "tasks"))
    trial.figures.notes |= {
        "records": samples[-1].records - samples[0].records,
        "resident": f"{samples[0].resident_mb:.0f} to {samples[-1].resident_mb:.0f} MB",
        "MB per million records": f"{found.value:.1f} ({found.low:.1f} to {found.high:.1f})",
        "handles risen by": handles,
        "tasks risen by": tasks,
    }
    hold(found.low <= MB_PER_MILLION, f"the memory grows by {found.value:.1f} MB per million records")
    hold(found.high <= MB_PER_MILLION, f"too short to tell: up to {found.high:.1f} MB per million records")
    hold(handles <= FLAT, f"{handles:.0f} more file handles")
    hold(tasks <= FLAT, f"{tasks:.0f} more tasks")


ROW = Row(
    number="21",
    fault="30 minutes of load, a server killed each minute",
    promise="memory +2 MB per million records at most (95 % bound), file handles and tasks flat",
    repeats=30,
    run=run,
)
