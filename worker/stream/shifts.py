"""The alerts of one process: while it leads, windows are read and the outbox is emptied; beside the stages.

One loop keeps the lease, so that a slow webhook or a long window does not lose it, and one notes outages; those that
read windows and deliver alerts do nothing while another worker leads. Alerts that wait never hold records up: a server
that is away is waited for here alone.
"""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from worker.alerts.delivery import LEASE_S, Deliverer, Outlets
from worker.alerts.leader import Leader, LeaderParts
from worker.errors import PolyvoxError
from worker.settings import Settings
from worker.stream.backlog import Outages
from worker.stream.ending import cancel
from worker.telemetry import ALERT_LEADER, Log, get_logger
from worker.timing import Backoff

KEEP_EVERY_S = LEASE_S / 6
LOOK_EVERY_S = 1.0


@dataclass(frozen=True)
class ShiftParts:
    """What the alerts are made of; all of it replaceable by the shipped fakes.

    Args:
        closers: called at the end, in this order.
    """

    leader: LeaderParts
    outlets: Outlets
    outages: Outages
    closers: tuple[Callable[[], Awaitable[None]], ...] = ()


class Shifts:
    """Runs until closed; an exception in any loop reaches `failed`, and the process must end then."""

    def __init__(self, parts: ShiftParts, settings: Settings) -> None:
        self._store = parts.outlets.store
        self._outages = parts.outages
        self._closers = parts.closers
        self._token = uuid.uuid4().hex
        self._leader = Leader(parts.leader, self._token, settings)
        self._deliverer = Deliverer(parts.outlets, self._token, settings)
        self._leads = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []
        self.failed: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def start(self) -> None:
        """Start the loops."""
        loops = [self._loop(self._keep, KEEP_EVERY_S)]
        loops += [self._loop(step, LOOK_EVERY_S) for step in (self._look, self._read, self._deliver)]
        self._tasks = [asyncio.create_task(loop) for loop in loops]
        for task in self._tasks:
            task.add_done_callback(self._on_task_end)

    async def aclose(self) -> None:
        """Stop, and let another worker lead at once."""
        await cancel(self._tasks)
        try:
            await self._store.release(self._token)
        except PolyvoxError as error:  # the lease ends by itself
            get_logger().info(Log.ALERTS_WAIT, error=str(error))
        for close in self._closers:
            await close()

    def _on_task_end(self, task: asyncio.Task[None]) -> None:
        if not task.cancelled() and not self.failed.done():
            self.failed.set_exception(task.exception() or RuntimeError("a loop of the alerts ended by itself"))

    async def _loop(self, step: Callable[[], Awaitable[int]], every_s: float) -> None:
        """Do a step for ever: again at once while it finds work, otherwise every so often."""
        backoff = Backoff(base_s=1.0, limit_s=30.0)
        while True:
            try:
                found = await step()
            except PolyvoxError as error:
                if backoff.attempts == 0:
                    get_logger().warning(Log.ALERTS_WAIT, error=str(error))
                await asyncio.sleep(every_s + backoff.next_s())
                continue
            backoff.reset()
            if not found:
                await asyncio.sleep(every_s)

    async def _keep(self) -> int:
        """Take or keep the lease."""
        leads = False
        try:
            leads = await self._store.lead(self._token, LEASE_S)
        finally:
            if leads != self._leads.is_set():
                self._change(leads)
        return 0

    def _change(self, leads: bool) -> None:
        ALERT_LEADER.set(leads)
        get_logger().info(Log.ALERTS_LEADING if leads else Log.ALERTS_NOT_LEADING)
        if leads:
            self._leader.forget()
            self._leads.set()
        else:
            self._leads.clear()

    async def _look(self) -> int:
        """Every worker notes outages, so that one that comes to lead knows of those before."""
        self._outages.look()
        return 0

    async def _read(self) -> int:
        await self._leads.wait()
        return await self._leader.read_settled()

    async def _deliver(self) -> int:
        await self._leads.wait()
        return await self._deliverer.deliver()
