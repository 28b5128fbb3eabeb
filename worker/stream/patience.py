"""Calls to the store that wait as long as it is away: they are all safe to repeat."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

from worker.errors import StoreUnavailable
from worker.telemetry import RETRIES, STAGE_SECONDS, Log, get_logger
from worker.timing import Backoff

Answer = TypeVar("Answer")


class Patience:
    """Repeats a call until it is answered.

    Args:
        stage: whose time each try counts for.
        outage: whether the store is known to be away; feeds readiness.
    """

    def __init__(self, stage: str) -> None:
        self._stage = stage
        self.outage = False

    async def until_answered(self, call: Callable[[], Awaitable[Answer]]) -> Answer:
        """The answer; errors other than `StoreUnavailable` are passed on."""
        backoff = Backoff()
        while True:
            try:
                with STAGE_SECONDS.labels(stage=self._stage).time():
                    answer = await call()
                break
            except StoreUnavailable as error:
                if not self.outage:
                    get_logger().warning(Log.STORE_OUTAGE, error=str(error))
                self.outage = True
                RETRIES.labels(target="redis").inc()
                await asyncio.sleep(backoff.next_s())
        self.outage = False
        return answer
