"""Workers come and go under a steady load."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

from tests.fault.beside import beside
from tests.fault.line import Line, line
from tests.fault.posts import posts
from tests.fault.row import Row, Trial, hold
from worker.events import position_from_headers
from worker.feeds.stretch import stretches

CHUNK = 60
CHUNK_S = 0.2
PAUSE_S = 10.0
LOOK_S = 0.2


def run(trial: Trial) -> None:
    """From one worker to three and back, each change as soon as the last one is done."""
    with line(trial) as tested:
        tested.start()
        tested.ready()
        with steady(trial, tested), longest_pause(tested) as pauses:
            for _ in range(trial.repeats):
                for _ in range(2):
                    tested.start()
                    tested.ready()
                for _ in range(2):
                    tested.workers.pop(0).stop()
                    tested.ready()
                trial.figures.repeats += 1
        tested.finish()
        trial.figures.recovered(max(pauses))
        trial.figures.notes |= {"rebalances": tested.rebalances(), "records": tested.produced}
        tested.stop()
        tested.audit(trial.figures)
        in_order(tested)
        trial.figures.within(max(pauses), PAUSE_S, "the longest pause")


@contextmanager
def steady(trial: Trial, tested: Line) -> Iterator[None]:
    """Send posts at a steady rate, from a thread, until the end."""

    def feed() -> None:
        tested.send(posts(CHUNK, trial.random))

    with beside(feed, CHUNK_S):
        yield


@contextmanager
def longest_pause(tested: Line) -> Iterator[list[float]]:
    """The times between two looks that found new outcomes, looked for from a thread; while posts are coming."""
    pauses = [0.0]
    seen, at_s = tested.published(), time.monotonic()

    def look() -> None:
        nonlocal seen, at_s
        now = tested.published()
        if now > seen:
            pauses.append(time.monotonic() - at_s)
            seen, at_s = now, time.monotonic()

    with beside(look, LOOK_S):
        yield pauses


def in_order(tested: Line) -> None:
    """First occurrences of a partition's records, and so of a key's, keep their order in `enriched`."""
    newest: dict[str, int] = {}
    seen: set[tuple[str, int]] = set()
    with stretches(tested.settings) as log:
        for span in log.spans([tested.settings.enriched_topic]):
            for record in log.records(span.topic, span.partition, span.begin, span.end):
                position, _ = position_from_headers(record.headers)
                if (position.shard, position.offset) in seen:
                    continue
                seen.add((position.shard, position.offset))
                behind = newest.get(position.shard, -1)
                hold(position.offset > behind, f"{position} came first after offset {behind}")
                newest[position.shard] = position.offset


ROW = Row(
    number="4",
    fault="scale 1 to 3 to 1",
    promise="0 missing, in order per key, pause of 10 s at most",
    repeats=20,
    run=run,
)
