"""Contender: Quix Streams copies records, as its documentation shows it: a streaming data frame for each topic."""

from __future__ import annotations

import sys
import time
from typing import Any

import msgspec
from quixstreams import Application

from bench.jobs import Pump


def application(job: Pump) -> Application:
    """Commits twice a second, as polyvox does; topics exist."""
    return Application(
        job.brokers,
        consumer_group=job.group,
        auto_offset_reset="earliest",
        commit_interval=0.5,
        auto_create_topics=False,
        loglevel="WARNING",
    )


def written_ms(_value: Any, _key: Any, _read_ms: int, _headers: Any) -> int:
    """Now: left to itself, a written record has the time of the one that was read."""
    return time.time_ns() // 1_000_000


if __name__ == "__main__":
    job = msgspec.json.decode(sys.argv[1], type=Pump)
    app = application(job)
    output = app.topic(job.output, key_serializer="bytes", value_serializer="bytes")
    for name in job.inputs:
        frame = app.dataframe(app.topic(name, key_deserializer="bytes", value_deserializer="bytes"))
        frame.set_timestamp(written_ms).to_topic(output)
    app.run(count=job.count)
