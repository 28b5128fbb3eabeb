"""The worker while posts arrive: latency at half of its rate, and a burst of ten times that for ten seconds."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from bench.jobs import Setting
from bench.polyvox import running_workers
from bench.real import rates, run_flood
from bench.servers import Ground, Scene, as_settings, scene
from bench.texts import inputs, record
from bench.traffic import Records, Seen, Stretch, run_traffic
from worker.feeds.topics import ensure_topics
from worker.settings import Settings

LOAD = 0.5
WARM_UP_S = 5.0
BATCH = Setting(Settings.model_fields["batch_posts"].default, 1)
BATCH_POSTS = 300
BURST_FACTOR = 10
BURST_S = 10.0
MOST_S = 240.0
"""Posts are made in advance for a burst that takes so long to drain."""


@dataclass(frozen=True)
class Latency:
    """From sending a post to having its enriched record, milliseconds."""

    posts: int
    posts_per_s: float
    p50_ms: float
    p95_ms: float
    p99_ms: float


@dataclass(frozen=True)
class Burst:
    """What became of a burst.

    Attributes:
        most_waiting: the most posts that waited at one time.
        drained_s: from its end until no more posts waited than come in a second; posts kept coming at the usual rate.
        lost: posts without an outcome; `repeats` are outcomes beyond the first.
    """

    posts: int
    posts_per_s: float
    most_waiting: int
    drained_s: float
    lost: int
    repeats: int


@dataclass(frozen=True)
class LiveFigures:
    """`batch_ms` is the time that Triton takes for one full batch when it has no other."""

    batch_ms: float
    latency: Latency
    burst: Burst


def measure_live(ground: Ground, posts_per_s: float, seconds: float) -> LiveFigures:
    """`posts_per_s` is the worker's rate on a backlog; latency is measured for so many seconds."""
    rate, say = posts_per_s * LOAD, ground.say
    with scene(ground) as servers:
        [alone] = rates(run_flood(servers, (BATCH,), BATCH_POSTS))
        batch_ms = BATCH.batch / alone * 1000
        say(f"one batch of {BATCH.batch} takes {batch_ms:.0f} ms; latency at {rate:.0f} posts/s")
        latency = latency_of(_run(servers, [Stretch(rate, seconds)]), min(WARM_UP_S, seconds / 4))
        say(f"p50 {latency.p50_ms:.0f} ms, p95 {latency.p95_ms:.0f} ms, p99 {latency.p99_ms:.0f} ms; now the burst")
        burst = burst_of(_run(servers, [Stretch(rate, BURST_S), Stretch(rate * BURST_FACTOR, BURST_S)]))
        say(f"{burst.most_waiting} posts waited, worked off after {burst.drained_s:.0f} s, {burst.lost} lost")
    return LiveFigures(batch_ms, latency, burst)


def _run(servers: Scene, stretches: Sequence[Stretch]) -> Seen:
    environment = servers.variables(f"live{len(stretches)}")
    settings = as_settings(environment)
    ensure_topics(settings)
    output = settings.enriched_topic, settings.partitions * len(settings.input_topics)
    records = _records(servers, f"live{len(stretches)}", stretches)
    with running_workers(environment, servers.directory, 1):
        return asyncio.run(run_traffic(settings.kafka_brokers, records, stretches, output))


def _records(servers: Scene, topics: str, stretches: Sequence[Stretch]) -> Records:
    count = sum(each.posts_per_s * each.seconds for each in stretches) + stretches[0].posts_per_s * MOST_S
    prefix = f"{servers.prefix}.{topics}"
    return iter([record(prefix, one) for one in inputs(servers.ground.samples, int(count) + 1)])


def latency_of(seen: Seen, warm_up_s: float) -> Latency:
    """Percentiles of the posts that were sent after the first `warm_up_s` of a single stretch. Pure."""
    begin_s = min(seen.sent_s.values()) + warm_up_s
    sent_s = {key: time_s for key, time_s in seen.sent_s.items() if time_s >= begin_s and key in seen.seen_s}
    taken_ms = [1000 * (seen.seen_s[key] - time_s) for key, time_s in sent_s.items()]
    p50, p95, p99 = np.percentile(taken_ms, (50, 95, 99)).tolist()
    return Latency(len(taken_ms), len(taken_ms) / (max(sent_s.values()) - begin_s), p50, p95, p99)


def burst_of(seen: Seen) -> Burst:
    """The second of two stretches. Pure."""
    begin_s, end_s = seen.ends_s
    posts = sum(begin_s < time_s <= end_s for time_s in seen.sent_s.values())
    return Burst(
        posts=posts,
        posts_per_s=posts / (end_s - begin_s),
        most_waiting=_most_waiting(seen),
        drained_s=seen.drained_s - end_s,
        lost=len(seen.sent_s.keys() - seen.seen_s.keys()),
        repeats=seen.repeats,
    )


def _most_waiting(seen: Seen) -> int:
    changes = [(time_s, 1) for time_s in seen.sent_s.values()] + [(time_s, -1) for time_s in seen.seen_s.values()]
    steps = np.array([step for _, step in sorted(changes, key=lambda change: change[0])])
    return int(steps.cumsum().max())
