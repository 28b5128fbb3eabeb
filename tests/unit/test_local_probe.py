"""Readiness is an answer that only a working server gives."""

import socket
import struct
import threading
from collections.abc import Callable, Iterator
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from worker.local import probe
from worker.local.ports import LOOPBACK, free_port

Serve = Callable[[list[bytes]], str]


@pytest.fixture
def serve() -> Iterator[Serve]:
    """A server that answers each request with the next of the given answers, then hangs up; returns its address."""
    listeners: list[socket.socket] = []

    def start(answers: list[bytes]) -> str:
        listener = socket.create_server((LOOPBACK, 0))
        listeners.append(listener)

        def talk() -> None:
            connection, _ = listener.accept()
            with connection:
                for answer in answers:
                    connection.recv(65536)
                    connection.sendall(answer)

        threading.Thread(target=talk, daemon=True).start()
        return f"{LOOPBACK}:{listener.getsockname()[1]}"

    yield start
    for listener in listeners:
        listener.close()


def kafka_answer(body: bytes) -> bytes:
    """A Kafka response: size, correlation id 1, body."""
    return struct.pack(">ii", len(body) + 4, 1) + body


NO_ERROR, UNSUPPORTED = struct.pack(">hi", 0, 0), struct.pack(">hi", 35, 0)
ONE_BROKER, NO_BROKER = struct.pack(">i", 1), struct.pack(">i", 0)


@pytest.mark.parametrize(
    ("answers", "ready"),
    [
        ([kafka_answer(NO_ERROR), kafka_answer(ONE_BROKER)], True),
        ([kafka_answer(NO_ERROR), kafka_answer(NO_BROKER)], False),
        ([kafka_answer(UNSUPPORTED), kafka_answer(ONE_BROKER)], False),
        ([kafka_answer(NO_ERROR), kafka_answer(b"")], False),
        ([kafka_answer(NO_ERROR)], False),
        ([b"HTTP/1.1 400 Bad Request\r\n\r\n"], False),
        ([], False),
    ],
)
def test_kafka_is_ready_when_it_knows_a_broker(serve: Serve, answers: list[bytes], ready: bool) -> None:
    """ApiVersions without an error and Metadata with a broker; anything else is not ready, and no exception."""
    assert probe.kafka_ready(serve(answers)) is ready


@pytest.mark.parametrize(
    ("answers", "ready"),
    [
        ([b"+PONG\r\n"], True),
        ([b"-LOADING Redis is loading the dataset in memory\r\n"], False),
        ([b"+PO"], False),
        ([], False),
    ],
)
def test_redis_is_ready_when_it_has_loaded_its_files(serve: Serve, answers: list[bytes], ready: bool) -> None:
    """PONG only; an error while the append-only file is read is not ready."""
    assert probe.redis_ready(serve(answers)) is ready


@pytest.mark.parametrize(
    ("refused", "ready"),
    [("nothing", True), ("/v2/health/ready", False), ("/v2/models/second/ready", False), ("/metrics", False)],
)
def test_triton_is_ready_when_every_model_is(refused: str, ready: bool) -> None:
    """The server, each model asked for and the metrics port must say so."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(HTTPStatus.BAD_REQUEST if self.path == refused else HTTPStatus.OK)
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class's signature
            """Stay silent."""

    with HTTPServer((LOOPBACK, 0), Handler) as server:
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        address = f"{LOOPBACK}:{server.server_port}"
        assert probe.triton_ready(address, address, ("first", "second")) is ready
        server.shutdown()


def test_nobody_there_is_not_ready() -> None:
    """A closed port is an answer like any other."""
    address = f"{LOOPBACK}:{free_port(set())}"
    assert not probe.kafka_ready(address)
    assert not probe.redis_ready(address)
    assert not probe.triton_ready(address, address, ())
