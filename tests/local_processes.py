"""What runs on this machine, read from /proc, for the tests of worker/local."""

import time
from collections.abc import Callable
from pathlib import Path

DEADLINE_S = 30.0


def eventually(condition: Callable[[], object], what: str) -> None:
    """Wait until `condition` holds; fails with `what` when it does not within the deadline."""
    ends_at = time.monotonic() + DEADLINE_S
    while not condition():
        assert time.monotonic() < ends_at, f"still not: {what}"
        time.sleep(0.02)


def alive(pid: int) -> bool:
    """Whether the process exists and is no zombie."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def working_under(directory: Path) -> dict[int, str]:
    """Pid and command line of every process that works in `directory` or names it."""
    found = {}
    for process in Path("/proc").glob("[0-9]*"):
        try:
            command = (process / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
            place = str((process / "cwd").readlink())
        except OSError:
            continue
        if (str(directory) in command or place.startswith(str(directory))) and alive(int(process.name)):
            found[int(process.name)] = command
    return found
