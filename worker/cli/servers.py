"""`polyvox run`, `polyvox status` and `polyvox version`."""

from __future__ import annotations

from typing import Annotated

import typer

from worker.cli import status
from worker.cli.console import examples, out
from worker.role import Role


def add_to(app: typer.Typer) -> None:
    """Register the commands."""
    app.command(
        epilog=examples(
            "polyvox run",
            "polyvox run --role enrich",
            "POLYVOX_KAFKA_BROKERS=kafka:9092 POLYVOX_TRITON_URL=triton:8001 polyvox run",
            after="Logs are JSON lines on standard error. GET /live, /ready and /metrics answer at POLYVOX_HEALTH_HOST "
            "and POLYVOX_HEALTH_PORT. SIGTERM and Ctrl-C finish what was read and end with 0; 2 means unusable "
            "settings, 70 a failure after which a supervisor may start it again, 78 too many dead letters: look first.",
        )
    )(run)
    status.add_to(app)
    app.command()(version)


def run(
    role: Annotated[
        Role | None, typer.Option(help="which stage: enrich, aggregate, or all; POLYVOX_ROLE by default")
    ] = None,
) -> None:
    """Run the worker against the servers of the settings."""
    from worker.stream.collector import lasting

    with lasting():
        from worker.analysis import batching_file
        from worker.settings import load_settings
        from worker.stream.main import run as run_worker

    configured = load_settings(**({} if role is None else {"role": role}))
    if configured.role != "aggregate":
        batching_file.named(configured)  # a broken one is wrong usage, found before any server is asked
    raise typer.Exit(run_worker(configured))


def version() -> None:
    """Print the version."""
    from importlib import metadata

    try:
        out().print(metadata.version("polyvox"), markup=False)
    except metadata.PackageNotFoundError:
        out().print("unknown: not installed as a package", markup=False)
