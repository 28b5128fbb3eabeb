"""Triton hangs, is slow, answers nonsense, or lacks the model."""

from __future__ import annotations

import asyncio
import contextlib
import http.client
import signal
import time
from collections.abc import Callable

import numpy as np

from tests.fault.line import Line, line
from tests.fault.posts import posts
from tests.fault.row import Row, Trial, hold
from worker.analysis.bundle import Bundle
from worker.analysis.inference import TokenBatch
from worker.analysis.triton import TritonAddress, TritonInference
from worker.errors import InferenceUnavailable
from worker.local.probe import split
from worker.local.stack import Stack

TIMEOUT_S = 2.0
LATE_S = 0.2
HANGS_S = 9.0
RESUMED_S = 5.0
POOL = 256
GROWTH = 0.10
ASKED_EACH_TIME = {"seen_windows_mb": "0"}
"""The posts of the rows repeat phrases, which a worker answers from memory."""


def hangs(trial: Trial) -> None:
    """SIGSTOP: calls end with their deadline, and the worker stays in its group."""
    with (
        trial.rig.own_triton() as (triton, addresses, model),
        line(trial, addresses, triton_timeout_s=f"{TIMEOUT_S}", batch_posts="16", **ASKED_EACH_TIME) as tested,
    ):
        model.become("slow 0.04")  # posts are still waiting when it hangs
        tested.start()
        slowest_s = 0.0
        for _ in range(trial.repeats):
            published = tested.published()
            tested.send(posts(6000, trial.random))
            tested.progress(since=published)
            given = tested.rebalances()
            slowest_s = max(slowest_s, asyncio.run(_slowest_s(tested, addresses.triton_grpc, triton)))
            trial.figures.repeats += 1
            trial.figures.recovered(tested.progress())
            hold(tested.rebalances() == given, "the worker left its group")
        trial.figures.notes["slowest call"] = f"{slowest_s:.2f} s of {TIMEOUT_S:.1f} s"
        tested.finish()
        tested.stop()
        tested.audit(trial.figures)
        trial.figures.within(slowest_s, TIMEOUT_S + LATE_S, "the slowest call")
        trial.figures.within(trial.figures.worst_recovery_s, RESUMED_S, "resuming")
        hold(tested.totals().dead_lettered == 0, "a hanging server made dead letters")


async def _slowest_s(tested: Line, address: str, triton: Stack) -> float:
    """Let the server hang for a while; the longest time that a call on an open connection takes to fail."""
    bundle = Bundle.load(tested.settings.bundle_dir)
    inference = TritonInference(bundle, TritonAddress(address), TIMEOUT_S, 1)
    batch = TokenBatch(np.ones((1, 4), np.int64), np.ones((1, 4), np.int64))
    slowest_s = 0.0
    try:
        await inference.infer(batch)
        triton.signal("triton", signal.SIGSTOP)
        ends_at = time.monotonic() + HANGS_S
        while time.monotonic() < ends_at:
            started_s = time.monotonic()
            with contextlib.suppress(InferenceUnavailable):
                await inference.infer(batch)
            slowest_s = max(slowest_s, time.monotonic() - started_s)
    finally:
        triton.signal("triton", signal.SIGCONT)
        await inference.aclose()
    return slowest_s


def slow(trial: Trial) -> None:
    """Ten times slower: what is read and not settled stays bounded, and so does the memory."""
    with (
        trial.rig.own_triton() as (_, addresses, model),
        line(trial, addresses, pool_posts=str(POOL), batch_posts="16", **ASKED_EACH_TIME) as tested,
    ):
        model.become("slow 0.02")
        worker = tested.start()
        for _ in range(trial.repeats):
            published = tested.published()
            tested.send(posts(12_000, trial.random))
            tested.progress(since=published)
            watch(tested, 5.0)
            given, before = tested.rebalances(), worker.resident_bytes
            model.become("slow 0.2")
            waiting, resident = watch(tested, 20.0)
            trial.figures.repeats += 1
            model.become("ok")
            grown = resident / before - 1
            trial.figures.notes |= {
                "most waiting": waiting, "memory": f"{grown:+.1%} of {before / 2**20:.0f} MB"
            }  # fmt: skip
            hold(waiting <= POOL, f"{waiting} records waiting, {POOL} are allowed")
            hold(grown <= GROWTH, f"the memory grew by {grown:.1%}")
            hold(tested.rebalances() == given, "the worker left its group")
            tested.finish(300)
        tested.stop()
        tested.audit(trial.figures)


def watch(tested: Line, seconds: float) -> tuple[int, int]:
    """The most records that waited, and the largest resident memory in bytes, over a time."""
    (worker,) = tested.workers
    waiting = resident = 0
    ends_at = time.monotonic() + seconds
    while time.monotonic() < ends_at:
        waiting = max(waiting, round(worker.metric("polyvox_waiting_records")))
        resident = max(resident, worker.resident_bytes)
        time.sleep(0.2)  # between two looks
    return waiting, resident


def nonsense(trial: Trial) -> None:
    """Wrong shapes, NaN, no model: nothing is published, readiness fails, and all is analysed when it is over."""
    with (
        trial.rig.own_triton() as (_, addresses, model),
        line(trial, addresses, **ASKED_EACH_TIME) as tested,
    ):
        healthy: Callable[[], None] = lambda: model.become("ok")  # noqa: E731
        faults: list[tuple[str, Callable[[], None], Callable[[], None]]] = [
            ("nan", lambda: model.become("nan"), healthy),
            ("shapes", lambda: model.become("shapes"), healthy),
            ("unload", lambda: _repository(addresses.triton_http, "unload"),
             lambda: _repository(addresses.triton_http, "load")),
        ]  # fmt: skip
        worker = tested.start()
        for number in range(trial.repeats):
            name, break_it, mend_it = faults[number % len(faults)]
            tested.send(posts(500, trial.random))
            tested.finish()
            break_it()
            tested.send(posts(500, trial.random))
            tested.wait(lambda: not worker.ready, f"readiness fails with {name}")
            published = tested.published()
            hold(published == tested.produced - 500, f"{name}: {published} outcomes of {tested.produced - 500} records")
            mend_it()
            trial.figures.repeats += 1
            trial.figures.recovered(tested.progress(since=published))
        tested.finish()
        tested.stop()
        tested.audit(trial.figures)
        hold(tested.totals().dead_lettered == 0, "nonsense made dead letters")


def _repository(address: str, action: str) -> None:
    connection = http.client.HTTPConnection(*split(address), timeout=30)
    connection.request("POST", f"/v2/repository/models/analyzer/{action}", body="{}")
    status = connection.getresponse().status
    connection.close()
    hold(status == http.HTTPStatus.OK, f"Triton answered {status} to {action}")


HANGS = Row(
    number="11",
    fault="Triton SIGSTOP",
    promise="calls end within 0.2 s of their deadline, the worker stays in its group, resumes within 5 s",
    repeats=3,
    run=hangs,
)
SLOW = Row(
    number="12",
    fault="Triton 10x slower",
    promise="in flight bounded, memory +10 % at most, no rebalance",
    repeats=1,
    run=slow,
)
NONSENSE = Row(
    number="13",
    fault="Triton answers wrong shapes, NaN, lacks the model",
    promise="no outcome, readiness fails, all analysed afterwards",
    repeats=3,
    run=nonsense,
)
