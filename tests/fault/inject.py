"""A worker in which one call of a foreign library raises: `python -m tests.fault.inject <call> <passing>`.

The first passings are answered as always; then the call raises once.
"""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable
from typing import Any

import aiokafka
from aiokafka import errors as kafka
from redis import exceptions as redis
from redis.asyncio import Redis
from tritonclient.grpc.aio import InferenceServerClient
from tritonclient.utils import InferenceServerException

from worker.settings import settings
from worker.stream.main import run

Fault = tuple[type, str, Callable[[], BaseException]]

CALLS: dict[str, Fault] = {
    f"{owner.__name__}.{name}:{error().__class__.__name__}": (owner, name, error)
    for owner, name, errors in (
        (
            aiokafka.AIOKafkaProducer,
            "send_batch",
            (
                kafka.KafkaTimeoutError,
                kafka.KafkaConnectionError,
                kafka.NotLeaderForPartitionError,
                kafka.ProducerFenced,
                kafka.TopicAuthorizationFailedError,
            ),
        ),
        (
            aiokafka.AIOKafkaConsumer,
            "getmany",
            (kafka.KafkaConnectionError, kafka.CorruptRecordException, kafka.ConsumerStoppedError, RuntimeError),
        ),
        (
            aiokafka.AIOKafkaConsumer,
            "commit",
            (kafka.CommitFailedError, kafka.RequestTimedOutError, kafka.GroupAuthorizationFailedError, RuntimeError),
        ),
        (
            InferenceServerClient,
            "infer",
            (
                functools.partial(InferenceServerException, "injected", "StatusCode.UNAVAILABLE"),
                RuntimeError,
            ),
        ),
        (
            Redis,
            "evalsha",
            (redis.ConnectionError, redis.BusyLoadingError, redis.ReadOnlyError, redis.DataError, RuntimeError),
        ),
    )
    for error in errors
}
"""Calls by name, with what they raise."""


def main(call: str, passing: int) -> int:
    """Run the worker with one call armed."""
    owner, name, error = CALLS[call]
    shipped = getattr(owner, name)
    left = passing

    @functools.wraps(shipped)
    async def raising(*arguments: Any, **options: Any) -> Any:
        nonlocal left
        left -= 1
        if left == 0:
            raise error()
        return await shipped(*arguments, **options)

    setattr(owner, name, raising)
    return run(settings())


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], int(sys.argv[2])))
