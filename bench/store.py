"""The bench's Redis: emptied between runs, and how much it holds."""

from __future__ import annotations

from worker.opinion.client import Link
from worker.settings import Settings


async def empty(settings: Settings) -> None:
    """Forget the run before: it applied the same source offsets, which would count as repeats."""
    link = Link.of(settings)
    async with link.use("emptying the bench's database") as client:
        await client.flushdb()
    await link.aclose()


async def used_bytes(settings: Settings) -> int:
    """The memory that Redis uses, its own included."""
    link = Link.of(settings)
    async with link.use("looking at the bench's database") as client:
        found = int((await client.info("memory"))["used_memory"])
    await link.aclose()
    return found
