"""Runs one command so that neither it nor anything it started can outlive whoever asked for it.

Run as a script (`python -I -S guard.py JSON`), one per server, in a session of its own, so the terminal's Ctrl-C does
not reach the server before its owner stops it in order. The guard stops the command when it gets SIGTERM (politely,
then by force after `stop_s`), SIGUSR1 (by force at once), or when its owner is gone, whatever killed it.

Why a process in between: SIGKILL of the owner runs no clean-up, PR_SET_PDEATHSIG alone fires when the *thread* that
forked ends (prctl(2)), and killing tritonserver leaves its Python stubs running for seconds and their files in /dev/shm
for good. The guard adopts orphaned grandchildren (PR_SET_CHILD_SUBREAPER), kills them and removes those files. Were the
guard itself killed, PDEATHSIG takes the server along; the guard has one thread, so that is sound here.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import shutil
import signal
import sys
import time
from pathlib import Path
from typing import TypedDict

PR_SET_PDEATHSIG = 1  # linux/prctl.h
PR_SET_CHILD_SUBREAPER = 36  # linux/prctl.h
OWNER_CHECK_S = 0.25
ORPHAN_STOP_S = 1.0
LEFTOVERS_S = 5.0
WATCHED = {signal.SIGCHLD, signal.SIGTERM, signal.SIGUSR1, signal.SIGINT, signal.SIGHUP}


class Order(TypedDict):
    """What to run; see `process.Launch` for the fields."""

    owner_pid: int
    command: list[str]
    environment: dict[str, str] | None
    stop_s: float
    remove: list[str]
    remove_when_orphaned: str


def prctl(option: int, value: int) -> None:
    """Set an attribute of this process; raises OSError when the kernel refuses."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(option, value, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), f"prctl({option}) failed")


def spawn(order: Order) -> int:
    """Fork and execute the command in a process group of its own; returns its pid."""
    guard_pid = os.getpid()
    pid = os.fork()
    if pid != 0:
        with contextlib.suppress(OSError):  # the child does it too; whoever is first, nobody waits
            os.setpgid(pid, pid)
        return pid
    try:
        os.setpgid(0, 0)
        prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, WATCHED)
        if os.getppid() == guard_pid:  # else the guard died before PDEATHSIG was set
            environment = order["environment"]
            command = order["command"]
            os.execve(command[0], command, os.environ if environment is None else environment)  # noqa: S606 - no input
    except OSError as error:
        os.write(2, f"cannot run {order['command'][0]}: {error}\n".encode())
    os._exit(127)


def children() -> list[int]:
    """Pids whose parent is this process, adopted ones included, from /proc."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rpartition(")")[2].split()
        except OSError:  # it ended while we looked
            continue
        if int(fields[1]) == os.getpid():
            found.append(int(stat.parent.name))
    return found


def reap(server_pid: int) -> int | None:
    """Collect ended children; returns the server's wait status if it is among them."""
    status = None
    while True:
        try:
            pid, ended = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return status
        if pid == 0:
            return status
        if pid == server_pid:
            status = ended


def stop(server_pid: int, stop_s: float) -> int:
    """SIGTERM the server, SIGKILL its group after `stop_s`; returns its wait status."""
    if stop_s > 0:
        os.kill(server_pid, signal.SIGTERM)
    ends_at = time.monotonic() + stop_s
    while (status := reap(server_pid)) is None:
        left_s = ends_at - time.monotonic()
        if left_s <= 0:
            os.killpg(server_pid, signal.SIGKILL)
            return os.waitpid(server_pid, 0)[1]
        received = signal.sigtimedwait({signal.SIGCHLD, signal.SIGUSR1}, left_s)
        if received is not None and received.si_signo == signal.SIGUSR1:
            ends_at = 0.0
    return status


def kill_leftovers(server_pid: int) -> None:
    """Kill and collect everything the server left behind."""
    ends_at = time.monotonic() + LEFTOVERS_S
    while time.monotonic() < ends_at:
        reap(server_pid)
        left = children()
        if not left:
            return
        for pid in left:
            os.kill(pid, signal.SIGKILL)  # cannot fail: only we can reap them
        signal.sigtimedwait({signal.SIGCHLD}, 0.1)


def watch(server_pid: int, order: Order) -> int:
    """Wait until the server ends or has to; returns its wait status."""
    while True:
        received = signal.sigtimedwait(WATCHED, OWNER_CHECK_S)
        status = reap(server_pid)
        if status is not None:
            return status
        if os.getppid() != order["owner_pid"]:
            return stop(server_pid, min(ORPHAN_STOP_S, order["stop_s"]))
        if received is not None and received.si_signo == signal.SIGTERM:
            return stop(server_pid, order["stop_s"])
        if received is not None and received.si_signo == signal.SIGUSR1:
            return stop(server_pid, 0.0)


def main(order: Order) -> int:
    """Run the order to its end; returns the command's exit status, 128 + signal when one ended it."""
    signal.pthread_sigmask(signal.SIG_BLOCK, WATCHED)
    prctl(PR_SET_CHILD_SUBREAPER, 1)
    server_pid = spawn(order)
    status = watch(server_pid, order)
    kill_leftovers(server_pid)
    for pattern in map(Path, order["remove"]):
        for path in pattern.parent.glob(pattern.name):
            path.unlink(missing_ok=True)
    if order["remove_when_orphaned"] and os.getppid() != order["owner_pid"]:
        shutil.rmtree(order["remove_when_orphaned"], ignore_errors=True)
    code = os.waitstatus_to_exitcode(status)
    return code if code >= 0 else 128 - code


if __name__ == "__main__":
    sys.exit(main(json.loads(sys.argv[1])))
