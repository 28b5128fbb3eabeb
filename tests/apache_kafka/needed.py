"""Tests that need Apache Kafka: skipped on a machine that lacks something, which in CI is a failure."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from tests.apache_kafka.broker import Unavailable


@contextmanager
def or_skipped() -> Iterator[None]:
    """Around what starts a broker.

    Raises:
        Unavailable: in CI.
    """
    try:
        yield
    except Unavailable as reason:
        if os.environ.get("CI"):
            raise
        pytest.skip(f"Apache Kafka cannot run here: {reason}")
