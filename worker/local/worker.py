"""A worker as a child process beside the local stack."""

from __future__ import annotations

import http.client
import json
import os
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import NoReturn

from worker.errors import PolyvoxError
from worker.local.probe import split
from worker.local.process import Guarded, Launch, log_tail
from worker.local.stack import Addresses
from worker.settings import REPOSITORY
from worker.timing import Backoff, Deadline, SystemClock

READY_S = 60.0
STOP_S = 15.0
"""A worker settles what it has read before it ends."""

POLL_S = 0.05
STARTED = b'"worker_started"'


def variables(addresses: Addresses) -> dict[str, str]:
    """The settings under which a worker, and every other command, reaches the local stack.

    Tansu holds a JoinGroup and an empty fetch for their whole timeouts and lacks aiokafka's idempotent producer: see
    docs/decisions/embedded-broker.md.
    """
    return {
        "POLYVOX_KAFKA_BROKERS": addresses.kafka,
        "POLYVOX_KAFKA_PROTOCOL": "PLAINTEXT",
        "POLYVOX_KAFKA_REBALANCE_TIMEOUT_S": "3",
        "POLYVOX_KAFKA_SESSION_TIMEOUT_S": "3",
        "POLYVOX_KAFKA_FETCH_WAIT_MS": "100",
        "POLYVOX_KAFKA_IDEMPOTENCE": "false",
        "POLYVOX_REDIS_URL": addresses.redis_url,
        "POLYVOX_TRITON_URL": addresses.triton_grpc,
        "POLYVOX_TRITON_TLS": "false",
    }


class WorkerProcess:
    """A running worker; `health` is host:port of its health server, "" until `wait_ready` returned.

    Its temporary files (Faust makes a data directory, which stays empty) lie beside its log.
    """

    def __init__(self, settings: Mapping[str, str], log: Path) -> None:
        self.log = log
        self.health = ""
        self._child = Guarded(
            Launch(
                command=(sys.executable, "-m", "worker", "run"),
                directory=REPOSITORY,
                log=log,
                environment={**os.environ, **settings, "TMPDIR": str(log.parent)},
                stop_s=STOP_S,
            )
        )

    def ended(self) -> int | None:
        """Its exit status; None while it runs."""
        return self._child.ended()

    def require_running(self) -> None:
        """Raise when the worker has ended.

        Raises:
            PolyvoxError: with its exit status and the end of its log.
        """
        status = self.ended()
        if status is not None:
            raise PolyvoxError(f"the worker ended with status {status}. The end of its log:\n{log_tail(self.log)}")

    def wait_ready(self, timeout_s: float = READY_S) -> None:
        """Return when records flow: it has its partitions, and its servers answer.

        Raises:
            PolyvoxError: it ended, or is not ready in time; with the end of its log.
        """
        deadline = Deadline.after(timeout_s, SystemClock())
        said = "it has not started its health server"
        while True:
            self.require_running()
            self.health = self.health or _health_address(self.log)
            if self.health:
                status, said = get(self.health, "/ready")
                if status == http.HTTPStatus.OK:
                    return
            if deadline.passed():
                raise PolyvoxError(
                    f"the worker was not ready after {timeout_s:.0f} s: {said}. The end of its log:\n"
                    f"{log_tail(self.log)}"
                )
            time.sleep(POLL_S)

    def stop(self) -> None:
        """End it in order: it settles what it has read."""
        self._child.stop()

    def kill(self) -> None:
        """End it at once; whoever reads on repeats what it had not settled."""
        self._child.kill()


@contextmanager
def running_worker(settings: Mapping[str, str], log: Path, progress: Callable[[str], None]) -> Iterator[WorkerProcess]:
    """Start a worker and wait until it is ready; stop it at the end, kill it after an exception.

    `settings` are environment variables beside those of this process.

    Raises:
        PolyvoxError: see `WorkerProcess.wait_ready`.
    """
    progress("worker: starting")
    started_s = time.monotonic()
    worker = WorkerProcess(settings, log)
    try:
        worker.wait_ready()
        progress(f"worker: ready, health at http://{worker.health} after {time.monotonic() - started_s:.1f} s")
        yield worker
    except BaseException:  # after Ctrl-C nobody waits for a worker to settle what its servers forget
        worker.kill()
        raise
    finally:
        worker.stop()


def supervise(settings: Mapping[str, str], log: Path, progress: Callable[[str], None]) -> NoReturn:
    """Keep a worker running until this is interrupted: one that fails is started again, as any supervisor would.

    Raises:
        PolyvoxError: a worker did not become ready, which starting it again would not change.
    """
    backoff = Backoff(base_s=1.0, limit_s=10.0)
    while True:
        with running_worker(settings, log, progress) as worker:
            while (status := worker.ended()) is None:
                time.sleep(POLL_S)
        progress(f"worker: ended with status {status}; starting it again. The end of its log:\n{log_tail(log)}")
        time.sleep(backoff.next_s())


def _health_address(log: Path) -> str:
    """Where the worker says that its health server listens; port 0 lets it choose one."""
    for line in log.read_bytes().splitlines():
        if STARTED in line:
            return str(json.loads(line)["health"])
    return ""


def get(address: str, path: str) -> tuple[int, str]:
    """Status and body of a GET; 0 and the error when nobody answers."""
    host, port = split(address)
    connection = http.client.HTTPConnection(host, port, timeout=5.0)
    try:
        connection.request("GET", path)
        answer = connection.getresponse()
        return answer.status, answer.read().decode().strip()
    except (OSError, http.client.HTTPException) as error:
        return 0, str(error)
    finally:
        connection.close()
