"""Latency and burst."""

from __future__ import annotations

from bench.live import BATCH, BURST_FACTOR, BURST_S, LOAD, LiveFigures


def live_part(figures: LiveFigures) -> str:
    """The section of the worker while posts arrive."""
    latency, burst = figures.latency, figures.burst
    return f"""\
## Latency at half load, and a burst

One worker with the real model and default settings, the whole path; posts are sent one by one at {LOAD:.0%} of the rate
above, and a consumer notes when it has each enriched record. {latency.posts} posts, {latency.posts_per_s:.0f} a
second, one run. One full batch of {BATCH.batch} takes Triton {figures.batch_ms:.0f} ms when it has no other.

| from sending a post to having its enriched record | ms | in batches |
|---|---:|---:|
| median | {latency.p50_ms:.0f} | {latency.p50_ms / figures.batch_ms:.1f} |
| 95 of 100 | {latency.p95_ms:.0f} | {latency.p95_ms / figures.batch_ms:.1f} |
| 99 of 100 | {latency.p99_ms:.0f} | {latency.p99_ms / figures.batch_ms:.1f} |

Then {BURST_FACTOR} times that rate for {BURST_S:.0f} s: {burst.posts} posts, {burst.posts_per_s:.0f} a second. Up to
{burst.most_waiting} posts waited; {burst.drained_s:.0f} s after the burst, with posts coming at the usual rate all the
time, the backlog was worked off. {burst.lost} posts were lost, {burst.repeats} outcomes were written twice."""
