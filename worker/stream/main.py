"""The worker as `polyvox run` starts it."""

from __future__ import annotations

import asyncio

import faust
import uvloop

from worker.settings import Settings
from worker.stream.build import create_app
from worker.stream.connections import expect_closed_connections
from worker.stream.heaps import tidy_heaps


def run(settings: Settings) -> int:
    """Run until SIGTERM or SIGINT; the exit code, 0 after a clean stop.

    A failure ends the process from within, with `ending.EXIT_FAILED` or `ending.EXIT_DEAD_LETTERS`.
    """
    tidy_heaps()
    uvloop.install()
    asyncio.set_event_loop(uvloop.new_event_loop())
    expect_closed_connections()
    app = create_app(settings)
    worker = faust.Worker(app, loglevel=None, override_logging=False, quiet=True)
    try:
        worker.execute_from_commandline()
    except SystemExit as end:
        return int(end.code or 0)
    return 0
