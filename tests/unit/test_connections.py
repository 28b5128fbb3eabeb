"""What becomes of a request to Kafka whose connection has just been closed."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
import uvloop
from aiokafka.conn import AIOKafkaConnection, CloseReason
from aiokafka.errors import KafkaConnectionError
from aiokafka.protocol.metadata import MetadataRequest

from worker.stream.connections import expect_closed_connections


@pytest.fixture
def expecting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(AIOKafkaConnection, "send", AIOKafkaConnection.send)  # put back at the end
    expect_closed_connections()


def connected(act: Callable[[Any], Awaitable[None]]) -> None:
    """Act on one of aiokafka's connections to a server that says nothing, on uvloop."""

    async def main() -> None:
        server = await asyncio.start_server(lambda _reader, writer: writer.close(), "127.0.0.1", 0)
        connection = AIOKafkaConnection(*server.sockets[0].getsockname(), request_timeout_ms=1000)
        connection._reader, connection._writer = await asyncio.open_connection(connection.host, connection.port)
        connection._read_task = asyncio.create_task(asyncio.sleep(0))
        connection._versions = {MetadataRequest.API_KEY: (0, 5)}
        try:
            await act(connection)
        finally:
            connection.close()
            server.close()

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(main())


def test_uvloop_refuses_a_write_to_a_closed_connection() -> None:
    """The reason for the next test: once this fails, uvloop or aiokafka have mended it."""

    async def act(connection: Any) -> None:
        connection._writer.transport.abort()
        await connection._writer.wait_closed()
        with pytest.raises(RuntimeError, match="closed"):
            connection.send(MetadataRequest([]))

    connected(act)


@pytest.mark.usefixtures("expecting")
def test_a_write_to_a_closed_connection_is_a_broken_connection() -> None:
    """It is an error that aiokafka tries again, and the connection is given up."""

    async def act(connection: Any) -> None:
        told = []
        connection._on_close_cb = lambda _connection, reason: told.append(reason)
        connection._writer.transport.abort()
        await connection._writer.wait_closed()
        with pytest.raises(KafkaConnectionError, match="broken"):
            connection.send(MetadataRequest([]))
        assert told == [CloseReason.CONNECTION_BROKEN]
        assert not connection.connected()

    connected(act)


@pytest.mark.usefixtures("expecting")
def test_another_error_stays_what_it_is() -> None:
    """A RuntimeError that has nothing to do with the connection is not taken for one."""

    async def act(connection: Any) -> None:
        class Broken:
            def prepare(self, _versions: object) -> None:
                raise RuntimeError("of another kind")

        with pytest.raises(RuntimeError, match="of another kind"):
            connection.send(Broken())

    connected(act)
