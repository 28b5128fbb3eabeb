"""The servers of one run: Apache Kafka, Redis and Triton, each started when a row first asks for it."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import Self

from bench.null import null_repository
from tests.apache_kafka.broker import Broker, running_broker, running_cluster
from tests.fault.models import FaultyModel
from worker.local.stack import Addresses, Stack, StackOptions
from worker.settings import REPOSITORY

TINY_MODELS = REPOSITORY / "tests" / "fixtures" / "tiny_models"
REAL_MODELS = REPOSITORY / "triton_models"


def quiet(_line: str) -> None:
    """Servers that come and go are the point of a row, and not worth a line each."""


class Rig:
    """Starts servers lazily and stops all of them at the end.

    Args:
        kafka: host:port of a broker that runs already; "" starts one.
    """

    def __init__(self, kafka: str = "") -> None:
        self._given_kafka = kafka
        self._held = contextlib.ExitStack()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._held.close()

    @cached_property
    def directory(self) -> Path:
        """For logs and files; gone at the end."""
        held = tempfile.TemporaryDirectory(prefix="polyvox-fault-", ignore_cleanup_errors=True)
        return Path(self._held.enter_context(held))

    @cached_property
    def kafka(self) -> str:
        """Where Apache Kafka listens."""
        if self._given_kafka:
            return self._given_kafka
        return self._held.enter_context(running_broker(self.directory))

    @cached_property
    def redis_stack(self) -> Stack:
        """Redis, with an append-only file."""
        return self._stack(StackOptions(servers=("redis",)))

    @cached_property
    def redis_url(self) -> str:
        """Where Redis listens."""
        return self.redis_stack.start().redis_url

    @cached_property
    def null_models(self) -> Path:
        """The repository of the null model, beside the shipped tokenizer and labels."""
        return self._held.enter_context(null_repository(REAL_MODELS))

    @cached_property
    def triton_stack(self) -> Stack:
        """Triton with the null model."""
        return self._stack(StackOptions(servers=("triton",), models_dir=self.null_models, model_names=("analyzer",)))

    @cached_property
    def triton(self) -> str:
        """The gRPC address of Triton with the null model."""
        return self.triton_stack.start().triton_grpc

    @property
    def addresses(self) -> Addresses:
        """Where all of them listen."""
        return Addresses(self.kafka, self.redis_url, self.triton, "", "")

    @contextlib.contextmanager
    def own_triton(self) -> Iterator[tuple[Stack, Addresses, FaultyModel]]:
        """A Triton of a row's own whose model can be told to fail: its stack, all addresses, the model."""
        with null_repository(REAL_MODELS) as models:
            model = FaultyModel(models)
            stack = Stack(StackOptions(servers=("triton",), models_dir=models, model_names=("analyzer",)), quiet)
            try:
                own = stack.start()
                yield stack, replace(own, kafka=self.kafka, redis_url=self.redis_url), model
            finally:
                stack.stop()

    @contextlib.contextmanager
    def own_redis(self) -> Iterator[tuple[Stack, Addresses, Path]]:
        """A Redis of a row's own, to be hurt: its stack, all addresses, and its append-only file."""
        state = Path(tempfile.mkdtemp(dir=self.directory))
        stack = Stack(StackOptions(servers=("redis",), state_dir=state), quiet)
        try:
            redis_url = stack.start().redis_url
            yield stack, replace(self.addresses, redis_url=redis_url), state / "redis" / "appendonly.aof"
        finally:
            stack.stop()

    @contextlib.contextmanager
    def own_kafka(self, count: int, advertised_port: int = 0) -> Iterator[tuple[list[Broker], Addresses]]:
        """Brokers of a row's own, to be hurt: they, and all addresses; see `running_cluster`."""
        directory = Path(tempfile.mkdtemp(dir=self.directory))
        with running_cluster(directory, count, advertised_port) as brokers:
            kafka = ",".join(broker.address for broker in brokers)
            yield brokers, Addresses(kafka, self.redis_url, self.triton, "", "")

    def _stack(self, options: StackOptions) -> Stack:
        stack = Stack(options, quiet)
        self._held.callback(stack.stop)
        return stack
