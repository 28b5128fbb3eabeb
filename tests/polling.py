"""Waiting for a condition in tests of an event loop: no sleep stands for what is waited for."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

DEADLINE_S = 20.0


async def until(condition: Callable[[], object]) -> None:
    """Return when `condition` holds; TimeoutError when it does not within the deadline."""
    async with asyncio.timeout(DEADLINE_S):
        while not condition():
            await asyncio.sleep(0.01)
