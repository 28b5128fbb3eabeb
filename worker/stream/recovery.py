"""After an inference failure: tell an outage from a bad record, so that neither takes good posts with it.

A canary batch that is known to be good decides. It fails: an outage, retried without end, one probe at a time. It
passes: the batch is bisected down to the record at fault, which is a bad record after a number of strikes that
survives restarts. A batch that came with an outage is not sent again as one: each of its records goes alone, so that a
record that takes the server down does so as seldom as can be.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Generic, Protocol, TypeVar

from worker.errors import BadRecord, InferenceRejected, InferenceUnavailable, ModelDied, ModelInvalid
from worker.stream.breaker import Breaker
from worker.telemetry import INFERENCE_UP, RETRIES, Log, get_logger

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
        strikes: failures after which a record is bad.
        on_outage: told True when an outage begins and False when it is over; feeds readiness.
        breaker: holds calls back while the server is away.
    """

    infer: Callable[[Sequence[Item]], Awaitable[Sequence[Answer]]]
    canary: Callable[[], Awaitable[None]]
    strike: Callable[[str], Awaitable[int]]
    strikes: int
    on_outage: Callable[[bool], None]
    breaker: Breaker
    # One recovery at a time: a record that kills the server must not strike the records of other batches.
    _alone: asyncio.Lock = field(default_factory=asyncio.Lock)

    async def answers(self, items: Sequence[Item]) -> list[Answer | BadRecord]:
        """An answer or a bad record for each item, in order; waits as long as an outage lasts."""
        while not self.breaker.closed:
            async with self._alone:  # whoever holds it probes; the others find the circuit closed
                if not self.breaker.closed:
                    await self._outlast_outage()
        try:
            return list(await self._ask(items))
        except INFERENCE_FAILURES as error:
            get_logger().warning(Log.BATCH_REJECTED, windows=len(items), error=str(error))
            died = isinstance(error, ModelDied)
        async with self._alone:
            return await self._recover(items, died=died)

    async def _ask(self, items: Sequence[Item]) -> Sequence[Answer]:
        """One call through the breaker; waits for a closed circuit first, which a batch of others may have opened."""
        permit = self.breaker.permit()
        while permit is None:
            await self._outlast_outage()
            permit = self.breaker.permit()
        try:
            answers = await self.infer(items)
        except InferenceUnavailable:
            self.breaker.failed(permit)
            raise
        except (InferenceRejected, ModelInvalid):
            self.breaker.succeeded(permit)
            raise
        self.breaker.succeeded(permit)
        return answers

    async def _recover(self, items: Sequence[Item], *, died: bool) -> list[Answer | BadRecord]:
        """Answer items that failed together; `died`: the model was dead after their call."""
        down = await self._outlast_outage() or died
        if down or len(items) == 1:
            return [await self._judge(item, went_down=down) for item in items]
        answers: list[Answer | BadRecord] = []
        for half in (items[: len(items) // 2], items[len(items) // 2 :]):
            RETRIES.labels(target="triton").inc()
            try:
                answers += await self._ask(half)
            except INFERENCE_FAILURES as error:
                answers += await self._recover(half, died=isinstance(error, ModelDied))
        return answers

    async def _judge(self, item: Item, *, went_down: bool) -> Answer | BadRecord:
        """Try one item alone until it passes or has its last strike; the canary has passed before each try.

        One that takes the server down alone did so in its batch, too: that counts as its first failure.
        """
        owed = went_down
        while True:
            RETRIES.labels(target="triton").inc()
            try:
                return (await self._ask([item]))[0]
            except INFERENCE_FAILURES as error:
                died = isinstance(error, ModelDied)
                bad = BadRecord("infer", "inference_failed", f"{type(error).__name__}: {error}")
            if await self.strike(item.event_id) >= self.strikes:
                return bad
            if (await self._outlast_outage() or died) and owed:
                owed = False
                if await self.strike(item.event_id) >= self.strikes:
                    return bad

    async def _outlast_outage(self) -> bool:
        """Wait until the canary passes; whether it ever failed."""
        attempts = 0
        while True:
            await asyncio.sleep(self.breaker.pause_s())
            permit = self.breaker.permit()
            if permit is None:
                continue
            try:
                await self.canary()
            except INFERENCE_FAILURES as error:
                self.breaker.failed(permit)
                attempts += 1
                if attempts == 1:
                    get_logger().warning(Log.INFERENCE_OUTAGE, error=str(error))
                    INFERENCE_UP.set(0)
                    self.on_outage(True)
                continue
            self.breaker.succeeded(permit)
            if attempts:
                get_logger().info(Log.INFERENCE_RESUMED, attempts=attempts)
                INFERENCE_UP.set(1)
                self.on_outage(False)
            return attempts > 0
