"""After an inference failure: tell an outage from a bad record, so that neither takes good posts with it.

A canary batch that is known to be good decides. It fails: an outage, retried without end. It passes: the batch is
bisected down to the record at fault, which is a bad record after a number of strikes that survives restarts.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Generic, Protocol, TypeVar

from worker.errors import BadRecord, InferenceRejected, InferenceUnavailable, ModelInvalid
from worker.telemetry import INFERENCE_UP, RETRIES, Log, get_logger
from worker.timing import Backoff

INFERENCE_FAILURES = (InferenceUnavailable, InferenceRejected, ModelInvalid)


class Struck(Protocol):
    """What can be at fault."""

    @property
    def event_id(self) -> str:
        """The event that strikes are counted for."""
        ...


Item = TypeVar("Item", bound=Struck)
Answer = TypeVar("Answer")


@dataclass(frozen=True)
class Recovery(Generic[Item, Answer]):
    """The retry policy around one inference call.

    Args:
        infer: answers a batch, one answer an item; raises one of `INFERENCE_FAILURES`.
        canary: runs the known-good batch; raises alike.
        strike: counts a failure of one event alone; the count so far.
        strikes: failures alone after which a record is bad.
        on_outage: told True when an outage begins and False when it is over; feeds readiness.
    """

    infer: Callable[[Sequence[Item]], Awaitable[Sequence[Answer]]]
    canary: Callable[[], Awaitable[None]]
    strike: Callable[[str], Awaitable[int]]
    strikes: int
    on_outage: Callable[[bool], None]
    # One recovery at a time: a record that kills the server must not strike the records of other batches.
    _alone: asyncio.Lock = field(default_factory=asyncio.Lock)

    async def answers(self, items: Sequence[Item]) -> list[Answer | BadRecord]:
        """An answer or a bad record for each item, in order; waits as long as an outage lasts."""
        try:
            return list(await self.infer(items))
        except INFERENCE_FAILURES as error:
            get_logger().warning(Log.BATCH_REJECTED, windows=len(items), error=str(error))
        async with self._alone:
            return await self._recover(items, may_retry=True)

    async def _recover(self, items: Sequence[Item], *, may_retry: bool) -> list[Answer | BadRecord]:
        """Answer items that failed together; one retry after an outage, since the items may have caused it."""
        outage = await self._outlast_outage()
        if len(items) == 1:
            return [await self._strike(items[0])]
        if outage and may_retry:
            halves: list[Sequence[Item]] = [items]
        else:
            halves = [items[: len(items) // 2], items[len(items) // 2 :]]
        answers: list[Answer | BadRecord] = []
        for half in halves:
            RETRIES.labels(target="triton").inc()
            try:
                answers += await self.infer(half)
            except INFERENCE_FAILURES:
                answers += await self._recover(half, may_retry=False)
        return answers

    async def _strike(self, item: Item) -> Answer | BadRecord:
        """Try one item alone until it passes or has its last strike; the canary has passed before each try."""
        while True:
            try:
                return (await self.infer([item]))[0]
            except INFERENCE_FAILURES as error:
                detail = f"{type(error).__name__}: {error}"
            if await self.strike(item.event_id) >= self.strikes:
                return BadRecord("infer", "inference_failed", detail)
            await self._outlast_outage()

    async def _outlast_outage(self) -> bool:
        """Wait until the canary passes; whether it ever failed."""
        backoff, failed = Backoff(), False
        while True:
            try:
                await self.canary()
            except INFERENCE_FAILURES as error:
                if not failed:
                    get_logger().warning(Log.INFERENCE_OUTAGE, error=str(error))
                    INFERENCE_UP.set(0)
                    self.on_outage(True)
                failed = True
                await asyncio.sleep(backoff.next_s())
                continue
            if failed:
                get_logger().info(Log.INFERENCE_RESUMED, attempts=backoff.attempts)
                INFERENCE_UP.set(1)
                self.on_outage(False)
            return failed
