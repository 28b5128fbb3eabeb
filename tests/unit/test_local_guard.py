"""The guard: a command never outlives whoever asked for it."""

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.local_processes import alive, eventually
from worker.local.process import Guarded, Launch, log_tail

SLEEP_FOR_EVER = "while :; do sleep 300; done"

Shell = Callable[..., Guarded]


@pytest.fixture
def shell(tmp_path: Path) -> Iterator[Shell]:
    """Starts shell scripts under a guard; ends them after the test."""
    started: list[Guarded] = []

    def start(script: str, **options: object) -> Guarded:
        launch = Launch(("/bin/sh", "-c", script), tmp_path, tmp_path / "log", **options)  # type: ignore[arg-type]
        started.append(Guarded(launch))
        return started[-1]

    yield start
    for guarded in started:
        guarded.kill()


def number_in(path: Path) -> int:
    """The number a script wrote into a file, once it is there."""
    eventually(lambda: path.exists() and path.read_text().strip(), f"{path} is written")
    return int(path.read_text())


@pytest.mark.parametrize(("script", "status"), [("exit 0", 0), ("exit 7", 7), ("kill -9 $$", 137)])
def test_the_exit_status_is_the_commands(shell: Shell, script: str, status: int) -> None:
    """A command that ends by itself hands on its status, 128 + signal when a signal ended it."""
    assert shell(script).wait() == status


def test_a_command_that_cannot_run_says_so_in_its_log(tmp_path: Path) -> None:
    """A program that is not there gives status 127 and a line that names it."""
    guarded = Guarded(Launch((str(tmp_path / "absent"),), tmp_path, tmp_path / "log"))
    assert guarded.wait() == 127
    assert "absent" in log_tail(tmp_path / "log")


def test_stop_asks_first(shell: Shell, tmp_path: Path) -> None:
    """A stopped command gets SIGTERM and may end in its own way."""
    guarded = shell(f"trap 'echo 1 > {tmp_path}/asked; exit 3' TERM; echo 1 > {tmp_path}/up; sleep 300 & wait")
    number_in(tmp_path / "up")
    guarded.stop()
    assert guarded.ended() == 3
    assert (tmp_path / "asked").exists()


def test_stop_ends_a_command_that_ignores_it(shell: Shell, tmp_path: Path) -> None:
    """SIGTERM ignored, SIGKILL follows."""
    guarded = shell(f"trap '' TERM; echo $$ > {tmp_path}/pid; {SLEEP_FOR_EVER}", stop_s=0.1)
    pid = number_in(tmp_path / "pid")
    guarded.stop()
    assert not alive(pid)
    assert guarded.ended() == 128 + signal.SIGKILL


def test_what_a_command_started_ends_with_it(shell: Shell, tmp_path: Path) -> None:
    """A grandchild in a session of its own, orphaned by a crash of the command, is found and killed."""
    guarded = shell(f"setsid sh -c 'echo $$ > {tmp_path}/grandchild; {SLEEP_FOR_EVER}' & {SLEEP_FOR_EVER}")
    grandchild = number_in(tmp_path / "grandchild")
    guarded.kill()
    assert not alive(grandchild)


def test_leftover_files_are_removed(shell: Shell, tmp_path: Path) -> None:
    """Files that match a pattern of `remove` are gone when the command is, even after a crash; others stay."""
    for name in ("region-1", "region-2", "other"):
        (tmp_path / name).touch()
    shell("kill -9 $$", remove=(str(tmp_path / "region-*"),)).wait()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["log", "other"]


def test_the_terminals_interrupt_does_not_reach_the_command(shell: Shell, tmp_path: Path) -> None:
    """The command is in another session than its owner: Ctrl-C there is the owner's business."""
    guarded = shell(f"echo $$ > {tmp_path}/pid; {SLEEP_FOR_EVER}")
    assert os.getsid(number_in(tmp_path / "pid")) != os.getsid(0)
    assert guarded.ended() is None


def test_the_end_of_the_thread_that_started_it_is_not_the_end(shell: Shell, tmp_path: Path) -> None:
    """A command started from a thread goes on when the thread ends (PR_SET_PDEATHSIG alone would kill it)."""
    os.mkfifo(tmp_path / "go")
    started: list[Guarded] = []
    thread = threading.Thread(target=lambda: started.append(shell(f"cat {tmp_path}/go > {tmp_path}/went")))
    thread.start()
    thread.join()
    (tmp_path / "go").write_text("1")
    assert started[0].wait() == 0
    assert (tmp_path / "went").read_text() == "1"


def test_a_killed_guard_takes_the_command_along(shell: Shell, tmp_path: Path) -> None:
    """Even SIGKILL of the guard leaves no command running."""
    shell(f"echo $PPID > {tmp_path}/guard; echo $$ > {tmp_path}/pid; {SLEEP_FOR_EVER}")
    guard, pid = number_in(tmp_path / "guard"), number_in(tmp_path / "pid")
    os.kill(guard, signal.SIGKILL)
    eventually(lambda: not alive(pid), "the command has ended")


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_a_dead_owner_takes_everything_along(tmp_path: Path, how: signal.Signals) -> None:
    """Whatever ends the owner, its command ends and its temporary directory goes."""
    state = tmp_path / "state"
    owner = f"""
from pathlib import Path
from worker.local.process import Guarded, Launch
state, log = Path({str(state)!r}), Path({str(tmp_path / "log")!r})
script = "trap '' TERM; echo $$ > {tmp_path}/pid; {SLEEP_FOR_EVER}"
Guarded(Launch(("/bin/sh", "-c", script), state, log, stop_s=0.1, remove_when_orphaned=str(state))).wait()
"""
    process = subprocess.Popen([sys.executable, "-c", owner], stderr=subprocess.DEVNULL)
    pid = number_in(tmp_path / "pid")
    process.send_signal(how)
    process.wait()
    eventually(lambda: not alive(pid), "the command has ended")
    eventually(lambda: not state.exists(), "its directory is deleted")


def test_the_end_of_a_log_shows_reasons_not_stack_frames(tmp_path: Path) -> None:
    """Frames and tables are left out, so that the lines that say why are among the last few."""
    log = tmp_path / "log"
    log.write_text("start\nerror: no bundle.json\nAt:\n" + "  /some/file.py(1): frame\n" * 50 + "| a | table |\n;\n\n")
    assert log_tail(log) == "    start\n    error: no bundle.json"
    log.write_text("")
    assert "empty" in log_tail(log)
    assert "no log" in log_tail(tmp_path / "absent")
