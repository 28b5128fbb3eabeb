"""`polyvox up`."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from worker.cli.configured import settings
from worker.cli.console import Exit, err, examples, out, stopped_in_order

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from worker.local.stack import Addresses
USUAL_PORTS = {"kafka": 9092, "redis": 6379, "triton_http": 8000, "triton_grpc": 8001, "triton_metrics": 8002}
LARGEST_PORT = 65_535
FORGETFUL = {"POLYVOX_RECREATED_TOPICS": "accept"}
"""The embedded broker's topics are new ones at each start; with --state, Redis remembers those of the last one."""


def add_to(app: typer.Typer) -> None:
    """Register the command."""
    app.command(
        epilog=examples(
            "polyvox up",
            "polyvox up --free-ports",
            "polyvox up --port kafka=19092 --state ./polyvox-state",
            after="Other commands find the servers on their usual ports by themselves, on others by the variables that "
            "are printed. Kafka's records are in memory and gone at the end; with --state the aggregates of Redis and "
            "all logs stay. Ctrl-C ends it with 0; 1 something failed, 2 a port is busy or something is missing.",
        )
    )(up)


def up(
    port: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME=NUMBER", help="kafka, redis, triton_http, triton_grpc, triton_metrics; 0: a free one"
        ),
    ] = None,
    free_ports: Annotated[bool, typer.Option("--free-ports", help="take free ports for everything")] = False,
    state: Annotated[Path | None, typer.Option(help="where logs and Redis's file stay; temporary by default")] = None,
) -> None:
    """Run a local stack and a worker until Ctrl-C."""
    from worker.local.servers import Ports
    from worker.local.stack import StackOptions, running_stack
    from worker.local.worker import supervise, variables

    configured = settings()
    ports = Ports(**({} if free_ports else USUAL_PORTS) | chosen_ports(port or []))
    options = StackOptions(models_dir=configured.models_dir, ports=ports, state_dir=state)
    try:
        with (
            stopped_in_order(),
            tempfile.TemporaryDirectory(prefix="polyvox-up-") as temporary,
            running_stack(options, _step) as addresses,
        ):
            environment = variables(addresses) | _health(configured.health_host, configured.health_port, free_ports)
            _print_addresses(addresses, environment)
            supervise(environment | FORGETFUL, (state or Path(temporary)) / "worker.log", _step)
    except KeyboardInterrupt:
        raise typer.Exit(Exit.FINE) from None


def chosen_ports(options: Sequence[str]) -> dict[str, int]:
    """Read `--port name=number`, repeatedly.

    Raises:
        typer.BadParameter: another name, or no port number.
    """
    chosen = {}
    for option in options:
        name, _, number = option.partition("=")
        if name not in USUAL_PORTS or not number.isdigit() or int(number) > LARGEST_PORT:
            raise typer.BadParameter(f"--port {option}: expected one of {', '.join(USUAL_PORTS)}, and a port number")
        chosen[name] = int(number)
    return chosen


def _health(host: str, port: int, free: bool) -> dict[str, str]:
    return {"POLYVOX_HEALTH_HOST": host, "POLYVOX_HEALTH_PORT": "0" if free else str(port)}


def _step(line: str) -> None:
    err().print(line, markup=False)


def _print_addresses(addresses: Addresses, environment: Mapping[str, str]) -> None:
    """Where everything is, and what to export, in a form that a shell can read."""
    console = out()
    for name, where in (
        ("Kafka", addresses.kafka),
        ("Redis", addresses.redis_url),
        ("Triton HTTP", f"http://{addresses.triton_http}"),
        ("Triton gRPC", addresses.triton_grpc),
        ("Triton metrics", f"http://{addresses.triton_metrics}/metrics"),
        ("worker health", f"http://{environment['POLYVOX_HEALTH_HOST']}:{environment['POLYVOX_HEALTH_PORT']}/ready"),
    ):
        console.print(f"# {name:<15} {where}", markup=False, soft_wrap=True)
    for name, value in environment.items():
        console.print(f"export {name}={value}", markup=False, soft_wrap=True)
