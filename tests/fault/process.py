"""One worker as a process that can be hurt: its signals, its memory, its health."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from bench.cpu import resident_bytes
from tests.fault.row import Broken
from tests.logged import logged
from worker.local.process import Guarded, Launch, log_tail
from worker.local.worker import get

RUN = ("-m", "worker", "run")
STOP_S = 60.0
"""After which one that was told to stop is killed; a row holds its time against what is promised."""

DEADLINE_S = 240.0
POLL_S = 0.05


class Process:
    """A running worker; it ends with the harness at the latest.

    Args:
        root: the checkout, or a copy of it that holds another version of the code.
        program: arguments of Python.
    """

    def __init__(self, settings: Mapping[str, str], log: Path, root: Path, program: Sequence[str]) -> None:
        self.log = log
        self.started_s = time.monotonic()
        environment = {**os.environ, **settings, "TMPDIR": str(log.parent), "PYTHONPATH": str(root)}
        self._child = Guarded(Launch((sys.executable, *program), root, log, environment, STOP_S))

    def signal(self, number: signal.Signals) -> None:
        """Send it a signal."""
        self._child.signal(number)

    def kill(self) -> None:
        """SIGKILL."""
        self._child.kill()

    def stop(self) -> float:
        """SIGTERM; the seconds until it ended.

        Raises:
            Broken: it had ended before, did not end in time, or not with 0.
        """
        if self.ended() is not None:
            raise Broken(f"a worker had ended with {self.ended()}:\n{log_tail(self.log)}")
        started_s = time.monotonic()
        self._child.stop()
        if self.ended() != 0:
            raise Broken(f"a worker stopped with {self.ended()} instead of 0:\n{log_tail(self.log)}")
        return time.monotonic() - started_s

    def ended(self) -> int | None:
        """Its exit status; None while it runs."""
        return self._child.ended()

    def wait(self, timeout_s: float = DEADLINE_S) -> int:
        """Its exit status.

        Raises:
            Broken: it runs on.
        """
        ends_at = time.monotonic() + timeout_s
        while (status := self.ended()) is None:
            if time.monotonic() > ends_at:
                raise Broken(f"a worker still runs after {timeout_s:.0f} s:\n{log_tail(self.log)}")
            time.sleep(POLL_S)
        return status

    def logged(self, event: str) -> list[dict[str, Any]]:
        """What it logged of one event."""
        return logged(self.log, event)

    @property
    def health(self) -> str:
        """host:port of its health server; "" before it has one."""
        started = self.logged("worker_started")
        return str(started[0]["health"]) if started else ""

    @property
    def ready(self) -> bool:
        """What its readiness says."""
        return bool(self.health) and self._asked("/ready")

    def _asked(self, path: str) -> bool:
        status, _ = get(self.health, path)
        return status == 200

    def metric(self, name: str) -> float:
        """One of its metrics, without labels; 0 when absent."""
        _, exposition = get(self.health, "/metrics")
        values = [line.split()[1] for line in exposition.splitlines() if line.startswith(f"{name} ")]
        return float(values[0]) if values else 0.0

    @property
    def handles(self) -> int:
        """Its open files; 0 once it ended."""
        try:
            return len(list(Path(f"/proc/{self._child.pid}/fd").iterdir()))
        except OSError:
            return 0

    @property
    def resident_bytes(self) -> int:
        """Its resident memory; 0 once it ended."""
        try:
            return resident_bytes(self._child.pid)
        except ProcessLookupError:
            return 0
