"""A worker in which one call of a foreign library raises: `python -m tests.fault.inject <call> <passing>`.

The first passings are answered as always; then the call raises once.
"""

from __future__ import annotations

import functools
import inspect
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import kafka as kafka_python
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka import errors as kafka
from redis import exceptions as redis
from redis.asyncio import Redis
from redis.asyncio.client import Pipeline
from tritonclient.grpc.aio import InferenceServerClient
from tritonclient.utils import InferenceServerException

from worker.settings import settings
from worker.stream.main import run

UNAVAILABLE = functools.partial(InferenceServerException, "injected", "StatusCode.UNAVAILABLE")
NO_BROKER = kafka_python.errors.KafkaConnectionError


@dataclass(frozen=True)
class Fault:
    """What raises, and what it raises.

    Args:
        at_start: the worker makes this call at its start, and hardly again.
    """

    owner: type
    name: str
    error: Callable[[], BaseException]
    at_start: bool = False

    @property
    def call(self) -> str:
        """Its name, for people and the command line."""
        return f"{self.owner.__name__}.{self.name}:{type(self.error()).__name__}"


def _faults(owner: type, name: str, *errors: Callable[[], BaseException], at_start: bool = False) -> tuple[Fault, ...]:
    return tuple(Fault(owner, name, error, at_start) for error in errors)


CALLS = {
    fault.call: fault
    for fault in (
        *_faults(
            AIOKafkaProducer,
            "send_batch",
            kafka.KafkaTimeoutError,
            kafka.KafkaConnectionError,
            kafka.NotLeaderForPartitionError,
            kafka.ProducerFenced,
            kafka.TopicAuthorizationFailedError,
            RuntimeError,
        ),
        *_faults(
            AIOKafkaConsumer,
            "getmany",
            kafka.KafkaConnectionError,
            kafka.CorruptRecordException,
            kafka.ConsumerStoppedError,
            RuntimeError,
        ),
        *_faults(
            AIOKafkaConsumer,
            "commit",
            kafka.CommitFailedError,
            kafka.RequestTimedOutError,
            kafka.GroupAuthorizationFailedError,
            RuntimeError,
        ),
        *_faults(InferenceServerClient, "infer", UNAVAILABLE, RuntimeError),
        *_faults(
            Redis,
            "evalsha",
            redis.ConnectionError,
            redis.BusyLoadingError,
            redis.ReadOnlyError,
            redis.DataError,
            RuntimeError,
        ),
        *_faults(AIOKafkaProducer, "start", kafka.KafkaConnectionError, RuntimeError, at_start=True),
        *_faults(AIOKafkaConsumer, "start", kafka.KafkaConnectionError, RuntimeError, at_start=True),
        *_faults(AIOKafkaConsumer, "beginning_offsets", kafka.KafkaTimeoutError, RuntimeError, at_start=True),
        *_faults(AIOKafkaConsumer, "seek_to_committed", kafka.KafkaConnectionError, RuntimeError, at_start=True),
        *_faults(InferenceServerClient, "get_model_config", UNAVAILABLE, RuntimeError, at_start=True),
        *_faults(Pipeline, "execute", redis.ConnectionError, RuntimeError, at_start=True),
        *_faults(kafka_python.KafkaAdminClient, "describe_topics", NO_BROKER, RuntimeError, at_start=True),
        *_faults(kafka_python.KafkaConsumer, "end_offsets", NO_BROKER, RuntimeError, at_start=True),
    )
}
"""Calls by name, with what they raise."""


def raising(fault: Fault, passing: int) -> Callable[..., Any]:
    """The call, which raises at its passing."""
    shipped = getattr(fault.owner, fault.name)
    left = passing

    def pass_by() -> None:
        nonlocal left
        left -= 1
        if left == 0:
            raise fault.error()

    @functools.wraps(shipped)
    async def later(*arguments: Any, **options: Any) -> Any:
        pass_by()
        return await shipped(*arguments, **options)

    @functools.wraps(shipped)
    def at_once(*arguments: Any, **options: Any) -> Any:
        pass_by()
        return shipped(*arguments, **options)

    return later if inspect.iscoroutinefunction(shipped) else at_once


def main(call: str, passing: int) -> int:
    """Run the worker with one call armed."""
    fault = CALLS[call]
    setattr(fault.owner, fault.name, raising(fault, passing))
    return run(settings())


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], int(sys.argv[2])))
