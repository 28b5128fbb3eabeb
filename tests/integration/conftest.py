"""What tests of whole workers share: a deployment, and the servers of the fault rows."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.fault.rig import Rig
from tests.integration.line import Line, running_line
from worker.local.stack import Addresses


@pytest.fixture(scope="session")
def rig(apache_kafka: str) -> Iterator[Rig]:
    """The servers of the fault rows: Apache Kafka, a Redis of its own, Triton with the null model."""
    with Rig(apache_kafka) as servers:
        yield servers


@pytest.fixture
def line(servers: Addresses, redis_url: str, tmp_path: Path) -> Iterator[Line]:
    """A deployment on the shared servers, with an empty Redis."""
    with running_line(servers, tmp_path / "worker.log") as made:
        yield made
