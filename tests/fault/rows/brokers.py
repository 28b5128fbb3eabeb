"""Brokers go away: one of three after the other (row 7), the only one for minutes (8), or behind a dead network (9)."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace

from tests.fault.line import DEADLINE_S, Line, answered, line
from tests.fault.posts import posts
from tests.fault.proxy import Proxy
from tests.fault.row import Row, Trial, hold
from worker.feeds.connect import admin
from worker.local.ports import LOOPBACK, free_port

POSTS = 4000
AFTERWARDS = 500
RESUMED_S = 60.0
DOWN_S = 20.0
CUT_S = 15.0
GROWTH = 0.10


def bounced(trial: Trial) -> None:
    """Each broker in turn, clean and hard: it leads partitions, and one of them is the group's coordinator."""
    with (
        trial.rig.own_kafka(3) as (brokers, addresses),
        line(trial, addresses, replication_factor="3", stalled_after_s="60") as tested,
    ):
        tested.start()
        ended = 0
        for number in range(trial.repeats):
            broker = brokers[number % len(brokers)]
            published = tested.published()
            tested.send(posts(POSTS, trial.random))
            _progress(tested, published)
            committed, gone_s = tested.committed(), time.monotonic()
            if number % 2:
                broker.kill()
            else:
                broker.stop()
            trial.figures.repeats += 1
            tested.send(posts(AFTERWARDS, trial.random))  # taken once other brokers lead
            given_up = _until(tested, lambda before=committed: tested.committed() > before, "committed")
            resumed_s, ended = time.monotonic() - gone_s, ended + given_up
            trial.figures.recovered(resumed_s)
            if not given_up:
                trial.figures.within(resumed_s, RESUMED_S, "resuming without an end of the process")
            broker.start()
            broker.wait()
            ended += _until(tested, lambda: _in_sync(tested), "in sync")
        trial.figures.notes["workers that ended"] = ended
        tested.finish(300)
        tested.stop()
        tested.audit(trial.figures)


def _progress(tested: Line, published: int) -> float:
    """Seconds until more is published; a worker that ends meanwhile is replaced."""
    started_s = time.monotonic()
    _until(tested, lambda: tested.published() > published, "published")
    return time.monotonic() - started_s


def _until(tested: Line, condition: Callable[[], bool], what: str) -> int:
    """Wait for it; a worker that ends meanwhile is replaced, as a supervisor does, and the time begins anew.

    Returns:
        How many ended.
    """
    ended, ends_at = 0, time.monotonic() + DEADLINE_S
    while not answered(condition):
        if replaced := tested.replace_ended():
            ended, ends_at = ended + replaced, time.monotonic() + DEADLINE_S
        hold(time.monotonic() < ends_at, f"nothing {what} for {DEADLINE_S:.0f} s, and no worker ended")
        time.sleep(0.2)  # between two looks
    return ended


def _in_sync(tested: Line) -> bool:
    """Whether every replica is; a second broker that goes before that is another fault."""
    with admin(tested.settings) as client:
        topics = client.describe_topics()
    return all(len(each["isr_nodes"]) == len(each["replica_nodes"]) for topic in topics for each in topic["partitions"])


def down(trial: Trial) -> None:
    """The only broker is down for 20 s a repeat, in one outage; what the worker holds meanwhile does not grow."""
    with trial.rig.own_kafka(1) as ((broker,), addresses), line(trial, addresses) as tested:
        tested.start()
        tested.send(posts(3 * POSTS, trial.random))
        tested.progress(since=0)
        (worker,) = tested.workers
        before = worker.resident_bytes
        published = tested.published()
        broker.stop()
        gone_s, most, ended = time.monotonic(), before, 0
        while time.monotonic() - gone_s < DOWN_S * trial.repeats:
            most = max(most, *(each.resident_bytes for each in tested.workers))
            ended += tested.replace_ended()
            time.sleep(0.5)  # the fault is a time
        trial.figures.repeats = trial.repeats
        trial.figures.notes |= {
            "down": f"{time.monotonic() - gone_s:.0f} s",
            "memory": f"{most / before - 1:+.1%} of {before / 2**20:.0f} MB",
            "workers that ended": ended,
        }
        broker.start()
        broker.wait()
        tested.replace_ended()
        trial.figures.recovered(_progress(tested, published))
        tested.finish(300)
        tested.stop()
        tested.audit(trial.figures)
        hold(most / before - 1 <= GROWTH, f"the memory grew by {most / before - 1:.1%}")


def cut(trial: Trial) -> None:
    """A worker's packets to Kafka vanish for 15 s a repeat, in one cut, while a second worker takes over."""
    door = free_port(set())
    with trial.rig.own_kafka(1, door) as ((broker,), addresses):
        proxied = f"{LOOPBACK}:{broker.node.proxied_port}"
        with Proxy(proxied, door) as proxy, line(trial, addresses) as tested:
            through = replace(addresses, kafka=proxy.address)
            tested.start(kafka_brokers=through.kafka)
            tested.ready()
            tested.send(posts(POSTS, trial.random))
            tested.progress(since=0)
            proxy.cut()
            other = tested.start()
            time.sleep(CUT_S * trial.repeats)  # the fault is a time
            tested.send(posts(POSTS, trial.random))
            proxy.mend()
            trial.figures.repeats = trial.repeats
            trial.figures.notes |= {"cut": f"{CUT_S * trial.repeats:.0f} s", "workers that ended": _replaced(tested)}
            tested.finish(300)
            hold(other.ended() is None, "the worker that was not cut off ended")
            tested.replace_ended()
            tested.stop()
            tested.audit(trial.figures)


def _replaced(tested: Line) -> int:
    time.sleep(5.0)  # whoever gives up does so now
    return tested.replace_ended()


BOUNCED = Row(
    number="7",
    fault="broker bounce, clean and hard, of three",
    promise="0 missing, resumes within 60 s or the watchdog ends the process",
    repeats=5,
    run=bounced,
)
DOWN = Row(
    number="8",
    fault="all brokers down, 20 s a repeat",
    promise="nothing lost, memory flat",
    repeats=6,
    run=down,
)
CUT = Row(
    number="9",
    fault="a worker cut from Kafka, 15 s a repeat",
    promise="0 missing, counters exact",
    repeats=6,
    run=cut,
)
