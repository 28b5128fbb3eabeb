"""A worker that also tells how many tasks its event loop has: `python -m tests.fault.counted`."""

from __future__ import annotations

import asyncio
import sys

from prometheus_client import Gauge

from worker.settings import settings
from worker.stream.main import run
from worker.telemetry import REGISTRY

TASKS = "tests_tasks"


def main() -> int:
    """Run the worker; its metrics are asked for on its event loop."""
    Gauge(TASKS, "Tasks of the event loop.", registry=REGISTRY).set_function(lambda: len(asyncio.all_tasks()))
    return run(settings())


if __name__ == "__main__":
    sys.exit(main())
