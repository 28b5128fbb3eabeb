"""`/live`, `/ready` and `/metrics` over HTTP, on loopback unless told otherwise."""

from __future__ import annotations

from collections.abc import Callable

from aiohttp import web

from worker.telemetry import exposition

Readiness = Callable[[], str | None]
"""None when ready, otherwise what is missing, in one line."""


async def serve(host: str, port: int, readiness: Readiness) -> tuple[web.AppRunner, int]:
    """Start the server; the runner to clean up, and the port it listens on.

    Raises:
        OSError: the port is taken.
    """

    async def live(_request: web.Request) -> web.Response:
        return web.Response(text="live\n")

    async def ready(_request: web.Request) -> web.Response:
        missing = readiness()
        return web.Response(text=f"{missing or 'ready'}\n", status=503 if missing else 200)

    async def metrics(_request: web.Request) -> web.Response:
        return web.Response(body=exposition(), headers={"Content-Type": "text/plain; version=0.0.4; charset=utf-8"})

    application = web.Application()
    application.add_routes([web.get("/live", live), web.get("/ready", ready), web.get("/metrics", metrics)])
    runner = web.AppRunner(application, access_log=None)
    await runner.setup()
    site = web.TCPSite(runner, host, port)
    await site.start()
    port = runner.addresses[0][1]
    return runner, port
