"""Redis loses what it had confirmed, forgets its scripts, and is full."""

from __future__ import annotations

import shutil

from tests.fault import store
from tests.fault.line import Line, line
from tests.fault.posts import posts
from tests.fault.row import Row, Trial, hold

POSTS = 3000
FAILED = 70


def run(trial: Trial) -> None:
    """Each repeat: full, then forgetful, then rolled back to a copy of its file from before."""
    with trial.rig.own_redis() as (redis, addresses, file), line(trial, addresses) as tested:
        tested.start()
        for _ in range(trial.repeats):
            tested.send(posts(POSTS, trial.random))
            tested.finish()
            copy = file.with_suffix(".copy")
            shutil.copyfile(file, copy)
            _full(trial, tested)
            store.ask(tested.settings, lambda link: link.redis.script_flush())
            tested.send(posts(POSTS, trial.random))
            tested.finish()
            (worker,) = tested.workers
            redis.kill("redis")
            shutil.copyfile(copy, file)
            redis.restart("redis")
            tested.send(posts(POSTS, trial.random))
            status = worker.wait()
            hold(status == FAILED, f"the worker ended with {status} over a Redis that was rolled back")
            hold("PositionLost" in worker.log.read_text(), "the worker ended for another reason")
            trial.figures.repeats += 1
            tested.replace_ended()
            trial.figures.recovered(tested.progress(since=tested.published() - 1))
            tested.finish()
        tested.stop()
        tested.audit(trial.figures)


def _full(trial: Trial, tested: Line) -> None:
    """No memory for one write more: nothing is counted meanwhile, and all of it afterwards."""
    store.ask(tested.settings, lambda link: link.redis.config_set("maxmemory", "1mb"))
    counted = tested.totals().received
    tested.send(posts(POSTS, trial.random))
    (worker,) = tested.workers
    tested.wait(lambda: bool(worker.logged("store_outage")), "the worker says that Redis is full")
    hold(not worker.ready, "the worker is ready though Redis is full")
    hold(tested.totals().received == counted, "a full Redis has counted")
    store.ask(tested.settings, lambda link: link.redis.config_set("maxmemory", "0"))
    trial.figures.recovered(tested.wait(lambda: tested.totals().received > counted, "counting goes on"))


ROW = Row(
    number="15",
    fault="Redis full, SCRIPT FLUSH, rolled back to an older file",
    promise="the partition waits while full, exact after the worker's restart",
    repeats=3,
    run=run,
)
