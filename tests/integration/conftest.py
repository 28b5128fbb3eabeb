"""The servers of the fault rows, for the tests that run some of them."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.fault.rig import Rig


@pytest.fixture(scope="session")
def rig(apache_kafka: str) -> Iterator[Rig]:
    """The servers of the fault rows: Apache Kafka, a Redis of its own, Triton with the null model."""
    with Rig(apache_kafka) as servers:
        yield servers
