"""aiokafka's connections on uvloop: a write to one that has just been closed is a broken connection.

asyncio lets such a write pass and closes the connection a moment later; uvloop raises a RuntimeError, for which
aiokafka is not prepared (https://github.com/aio-libs/aiokafka/issues/1038): it would end the tasks that keep the
metadata and the membership.
"""

from __future__ import annotations

from typing import Any

from aiokafka.conn import AIOKafkaConnection, CloseReason
from aiokafka.errors import KafkaConnectionError, KafkaError

_send = AIOKafkaConnection.send


def send(connection: Any, request: Any, expect_response: bool = True) -> Any:
    """`AIOKafkaConnection.send`, for which every failed write is one that aiokafka tries again.

    Raises:
        KafkaConnectionError: the connection is broken, or was.
    """
    try:
        return _send(connection, request, expect_response)
    except KafkaError:  # is a RuntimeError too
        raise
    except RuntimeError as error:
        if not connection._writer.is_closing():
            raise
        connection.close(reason=CloseReason.CONNECTION_BROKEN, exc=error)
        raise KafkaConnectionError(f"connection to {connection.host}:{connection.port} broken: {error}") from error


def expect_closed_connections() -> None:
    """Let all of aiokafka's connections of this process send like this."""
    AIOKafkaConnection.send = send
