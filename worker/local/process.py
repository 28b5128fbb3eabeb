"""One guarded child process: start it, see whether it ended, stop it, read the end of its log."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from signal import Signals

GUARD = Path(__file__).with_name("guard.py")
GUARD_MARGIN_S = 10.0  # what the guard itself may take beyond `stop_s`: killing leftovers, removing files
LOG_LINES = 8
LOG_LINE_CHARACTERS = 300
FRAME_OR_TABLE = re.compile(r"\s|[|+;]|At:$")  # stack frames and Triton's tables, behind which the reason would vanish


@dataclass(frozen=True)
class Launch:
    """A command and everything needed to run it and to clean up behind it.

    Attributes:
        command: absolute path of the program, then its arguments.
        directory: its working directory; made if absent.
        log: file that gets its stdout and stderr, replaced.
        environment: its whole environment; None hands on this process's.
        stop_s: how long it may take to end on SIGTERM before it is killed.
        remove: glob patterns of files to delete once it ended.
        remove_when_orphaned: a directory to delete when it ended because its owner had died; "" for none.
    """

    command: tuple[str, ...]
    directory: Path
    log: Path
    environment: dict[str, str] | None = None
    stop_s: float = 3.0
    remove: tuple[str, ...] = field(default=())
    remove_when_orphaned: str = ""


class Guarded:
    """A running command under `guard.py`: it ends with this process at the latest."""

    def __init__(self, launch: Launch) -> None:
        order = {
            "owner_pid": os.getpid(),
            "command": launch.command,
            "environment": launch.environment,
            "stop_s": launch.stop_s,
            "remove": launch.remove,
            "remove_when_orphaned": launch.remove_when_orphaned,
        }
        launch.directory.mkdir(parents=True, exist_ok=True)
        self.launch = launch
        with launch.log.open("wb") as log:
            self._guard = subprocess.Popen(
                [sys.executable, "-I", "-S", str(GUARD), json.dumps(order)],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                cwd=launch.directory,
                start_new_session=True,
            )

    def ended(self) -> int | None:
        """The exit status (128 + signal when a signal ended it), None while it runs."""
        return self._guard.poll()

    def wait(self) -> int:
        """Block until it ended; returns the exit status."""
        return self._guard.wait()

    @property
    def pid(self) -> int:
        """The command's own process id.

        Raises:
            ProcessLookupError: it ended.
        """
        children = Path(f"/proc/{self._guard.pid}/task/{self._guard.pid}/children")
        pids = children.read_text().split() if children.exists() else []
        if not pids:
            raise ProcessLookupError(f"{self.launch.command[0]} runs no more")
        return int(pids[0])

    def signal(self, number: Signals) -> None:
        """Send the command a signal, such as SIGSTOP.

        Raises:
            ProcessLookupError: it ended.
        """
        os.kill(self.pid, number)

    def stop(self) -> None:
        """End it: SIGTERM, SIGKILL after `stop_s`; returns when nothing of it runs any more."""
        self._end(signal.SIGTERM, self.launch.stop_s)

    def kill(self) -> None:
        """End it by SIGKILL at once, as a crash would; returns when nothing of it runs any more."""
        self._end(signal.SIGUSR1, 0.0)

    def _end(self, how: Signals, stop_s: float) -> None:
        if self._guard.poll() is not None:
            return
        self._guard.send_signal(how)
        try:
            self._guard.wait(stop_s + GUARD_MARGIN_S)
        except subprocess.TimeoutExpired:
            self._guard.kill()  # PDEATHSIG takes the command along
            self._guard.wait()


def log_tail(log: Path, lines: int = LOG_LINES) -> str:
    """The last telling lines of a log, indented and cut; a note when there are none."""
    try:
        text = log.read_text(errors="replace")
    except OSError as error:
        return f"    (no log: {error})"
    kept = [line[:LOG_LINE_CHARACTERS] for line in text.splitlines() if line and not FRAME_OR_TABLE.match(line)]
    return "\n".join(f"    {line}" for line in kept[-lines:]) or "    (its log is empty)"
