"""TCP proxies on loopback that hurt a connection: by losing replies, by cutting it, by going silent."""

from __future__ import annotations

import asyncio
import contextlib
import re
import threading
from collections.abc import Coroutine
from random import Random
from types import TracebackType
from typing import Any, Self

from worker.local.ports import LOOPBACK, free_port
from worker.local.probe import split

CHUNK_BYTES = 65_536


class Proxy:
    """Forwards connections to `target`, host:port, from a thread of its own. Cut off, it passes nothing either way.

    A cut holds connections open and silent, as a network that drops packets does.
    """

    def __init__(self, target: str, port: int = 0) -> None:
        self.target = split(target)
        self.port = port or free_port(set())
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="proxy", daemon=True)
        self._passing = asyncio.Event()
        self._server: asyncio.Server | None = None

    @property
    def address(self) -> str:
        """Where it listens."""
        return f"{LOOPBACK}:{self.port}"

    def __enter__(self) -> Self:
        self._thread.start()
        self._passing.set()
        self._server = self._call(asyncio.start_server(self._serve, LOOPBACK, self.port))
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._call(self._close())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def cut(self) -> None:
        """Pass nothing from now on."""
        self._loop.call_soon_threadsafe(self._passing.clear)

    def mend(self) -> None:
        """Pass again, also what was held back."""
        self._loop.call_soon_threadsafe(self._passing.set)

    def _call(self, work: Coroutine[Any, Any, Any]) -> Any:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(10)

    async def _close(self) -> None:
        if self._server is not None:
            self._server.close()
        tasks = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError, asyncio.CancelledError):
            await self._passing.wait()
            far_reader, far_writer = await asyncio.open_connection(*self.target)
            try:
                await self.connect(reader, writer, far_reader, far_writer)
            finally:
                far_writer.close()
        writer.close()

    async def connect(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        far_reader: asyncio.StreamReader,
        far_writer: asyncio.StreamWriter,
    ) -> None:
        """Serve one connection until either side closes it."""
        await until_one_ends(self._pump(reader, far_writer), self._pump(far_reader, writer))

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            while data := await reader.read(CHUNK_BYTES):
                await self._passing.wait()
                writer.write(data)
                await writer.drain()


APPLIES = re.compile(rb"\r\npolyvox:\{[^{}\r]+:\d+\}\r\n")
"""The key of a script that counts outcomes: a source partition's. Those of stories and alerts have other keys."""


class LostReplies(Proxy):
    """A Redis whose replies to every second script, by chance, are lost after Redis had applied it.

    Args:
        random: decides which.
        limit: after how many lost replies to scripts that count outcomes all others pass.
    """

    def __init__(self, redis_url: str, random: Random, limit: int) -> None:
        super().__init__(redis_url.removeprefix("redis://").partition("/")[0])
        self.url = f"redis://{self.address}/0"
        self.lost = 0
        self._random = random
        self._limit = limit

    async def connect(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        far_reader: asyncio.StreamReader,
        far_writer: asyncio.StreamWriter,
    ) -> None:
        """redis-py asks and waits: whatever comes back belongs to the request before it."""
        asked = bytearray()

        async def ask() -> None:
            while data := await reader.read(CHUNK_BYTES):
                asked.extend(data)
                far_writer.write(data)

        async def answer() -> None:
            while reply := await far_reader.read(CHUNK_BYTES):
                applied = b"EVALSHA" in asked[:64] and not reply.startswith(b"-")
                counts = APPLIES.search(asked[:256]) is not None
                asked.clear()
                if applied and self.lost < self._limit and self._random.random() < 0.5:
                    self.lost += counts
                    return
                writer.write(reply)

        await until_one_ends(ask(), answer())


async def until_one_ends(*ways: Coroutine[Any, Any, None]) -> None:
    """Run both ways of a connection; when one ends, so does the other."""
    tasks = [asyncio.create_task(way) for way in ways]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
