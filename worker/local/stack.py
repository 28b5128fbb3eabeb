"""The embedded stack: start the servers together, wait until each is really ready, stop them in reverse order.

    with running_stack(StackOptions(), print) as addresses:
        ...

Whatever ends this process, nothing it started keeps running (guard.py); a temporary state directory goes with it.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, fields
from pathlib import Path
from signal import Signals

from worker.errors import PlatformUnsupported
from worker.local import machine, servers
from worker.local.environment import ensure_triton_environment
from worker.local.ports import free_port, require_free
from worker.local.process import Guarded, log_tail
from worker.local.servers import Models, Ports, Recipe, ServerName
from worker.settings import REPOSITORY
from worker.timing import Deadline, SystemClock

POLL_S = 0.02
ALL_SERVERS: tuple[ServerName, ...] = ("kafka", "redis", "triton")

Progress = Callable[[str], None]


@dataclass(frozen=True)
class Addresses:
    """Where the servers listen, host:port; "" for a server that was not asked for."""

    kafka: str
    redis_url: str
    triton_grpc: str
    triton_http: str
    triton_metrics: str


@dataclass(frozen=True)
class StackOptions:
    """What to start.

    Attributes:
        servers: which of the three.
        models_dir: Triton's model repository.
        model_names: the models to load; None loads every model of the repository.
        model_config_name: see `servers.Models.config_name`.
        ports: fixed ports, 0 for a free one.
        state_dir: logs, Redis's append-only file; None makes a temporary one, which is deleted at the end.
        triton_environment: Triton's virtual environment; made when it is absent or out of date.
    """

    servers: tuple[ServerName, ...] = ALL_SERVERS
    models_dir: Path = REPOSITORY / "triton_models"
    model_names: tuple[str, ...] | None = None
    model_config_name: str = ""
    ports: Ports = field(default_factory=Ports)
    state_dir: Path | None = None
    triton_environment: Path = REPOSITORY / ".venv-triton"


class Stack:
    """The servers of one `StackOptions`; `kill` and `restart` are for tests of outages."""

    def __init__(self, options: StackOptions, progress: Progress) -> None:
        self._options = options
        self._progress = progress
        self._recipes: dict[ServerName, Recipe] = {}
        self._running: dict[ServerName, Guarded] = {}
        self._held = contextlib.ExitStack()

    def start(self) -> Addresses:
        """Start every server and wait until all are ready; on any failure call `stop`.

        Raises:
            PlatformUnsupported: this machine lacks something; the message says what to do.
            BrokerUnavailable, StoreUnavailable, InferenceUnavailable: that server did not start; with its log's end.
            ModelInvalid: there is no such model.
        """
        machine.require_this_platform()
        if "triton" in self._options.servers:
            ensure_triton_environment(self._options.triton_environment, self._progress)
        ports = _choose_ports(self._options)
        self._recipes = self._make_recipes(ports)
        for name in self._recipes:
            self._launch(name)
        self._await_ready(list(self._recipes))
        return _addresses(self._options.servers, ports)

    def stop(self) -> None:
        """Stop what runs, last started first, and delete a temporary state directory."""
        for name in reversed(list(self._running)):
            self._running[name].stop()
            del self._running[name]
        self._held.close()

    def kill(self, name: ServerName) -> None:
        """SIGKILL one server, as a crash would; what it had not written is lost."""
        self._running.pop(name).kill()

    def signal(self, name: ServerName, number: Signals) -> None:
        """Send one server a signal: SIGSTOP makes it hang, SIGCONT go on."""
        self._running[name].signal(number)

    def restart(self, name: ServerName) -> None:
        """Start a killed server again, with the same ports and files, and wait until it is ready."""
        self._launch(name)
        self._await_ready([name])

    def _make_recipes(self, ports: Ports) -> dict[ServerName, Recipe]:
        options = self._options
        state = self._held.enter_context(_state(options.state_dir))
        orphaned = "" if options.state_dir else str(state)
        recipes: dict[ServerName, Recipe] = {}
        for name in options.servers:
            if name == "kafka":
                recipe = servers.kafka(state, ports)
            elif name == "redis":
                recipe = servers.redis(state, ports)
            else:
                names = options.model_names or servers.models_in(options.models_dir, options.model_config_name)
                models = Models(options.models_dir, names, options.model_config_name)
                recipe = servers.triton(state, ports, options.triton_environment, models)
            recipes[name] = recipe.owned_by(orphaned)
        return recipes

    def _launch(self, name: ServerName) -> None:
        self._progress(f"{name}: starting")
        self._running[name] = Guarded(self._recipes[name].launch)

    def _await_ready(self, names: list[ServerName]) -> None:
        started_s = time.monotonic()
        deadlines = {name: Deadline.after(self._recipes[name].start_timeout_s, SystemClock()) for name in names}
        while deadlines:
            for name in list(deadlines):
                recipe, status = self._recipes[name], self._running[name].ended()
                if status is not None:
                    raise recipe.failure(_post_mortem(name, recipe, f"ended with status {status} while starting"))
                if recipe.ready():
                    self._progress(f"{name}: ready at {recipe.where} after {time.monotonic() - started_s:.1f} s")
                    del deadlines[name]
                elif deadlines[name].passed():
                    late = f"was not ready after {recipe.start_timeout_s:.0f} s"
                    raise recipe.failure(_post_mortem(name, recipe, late))
            time.sleep(POLL_S)


@contextlib.contextmanager
def running_stack(options: StackOptions, progress: Progress) -> Iterator[Addresses]:
    """Start the stack, hand out its addresses, stop it at the end; `progress` gets one line per step."""
    stack = Stack(options, progress)
    try:
        yield stack.start()
    finally:
        stack.stop()


def _post_mortem(name: str, recipe: Recipe, what: str) -> str:
    log = recipe.launch.log
    text = log.read_text(errors="replace") if log.exists() else ""
    advice = machine.explain_log(name, text) or (
        "the port was taken in the meantime: start again" if "ddress already in use" in text else ""
    )
    advice = advice or "the lines above say why; a fixed state directory keeps the whole log"
    return f"{name} {what}. The end of {log}:\n{log_tail(log)}\n  {advice}"


def _choose_ports(options: StackOptions) -> Ports:
    """Free ports where 0 was asked for; the others must be free."""
    chosen = {}
    taken = {getattr(options.ports, door.name) for door in fields(Ports)}
    for door in fields(Ports):
        server = door.name.partition("_")[0]
        port = getattr(options.ports, door.name)
        if server in options.servers:
            port = require_free(port, door.name) if port else free_port(taken)
        chosen[door.name] = port
    return Ports(**chosen)


def _addresses(started: tuple[ServerName, ...], ports: Ports) -> Addresses:
    def at(server: str, port: int) -> str:
        return servers.at(port) if server in started else ""

    return Addresses(
        kafka=at("kafka", ports.kafka),
        redis_url=f"redis://{servers.at(ports.redis)}/0" if "redis" in started else "",
        triton_grpc=at("triton", ports.triton_grpc),
        triton_http=at("triton", ports.triton_http),
        triton_metrics=at("triton", ports.triton_metrics),
    )


@contextlib.contextmanager
def _state(directory: Path | None) -> Iterator[Path]:
    """The state directory, temporary when none is given, held alone: two Redis servers would destroy their file."""
    with contextlib.ExitStack() as held:
        if directory is None:
            directory = Path(
                held.enter_context(tempfile.TemporaryDirectory(prefix="polyvox-", ignore_cleanup_errors=True))
            )
        directory.mkdir(parents=True, exist_ok=True)
        lock = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
        held.callback(os.close, lock)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            message = f"another stack runs in {directory}: stop it, or choose another state directory"
            raise PlatformUnsupported(message) from None
        yield directory.resolve()
