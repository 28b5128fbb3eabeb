"""Is a server ready? One short question each, by raw socket or HTTP, that the server can only answer when it works."""

from __future__ import annotations

import http.client
import socket
import struct
from http import HTTPStatus

TIMEOUT_S = 1.0
API_VERSIONS = 18
METADATA = 3
CLIENT_ID = b"polyvox"
NO_TOPICS = struct.pack(">i", 0)  # Metadata v1: an empty array asks for no topic, so that none is created


def split(address: str) -> tuple[str, int]:
    """`host:port` as a pair."""
    host, _, port = address.rpartition(":")
    return host, int(port)


def _exactly(connection: socket.socket, size: int) -> bytes:
    data = b""
    while len(data) < size:
        received = connection.recv(size - len(data))
        if not received:
            raise ConnectionError("closed in the middle of an answer")
        data += received
    return data


def _kafka_call(connection: socket.socket, api: int, version: int, body: bytes) -> bytes:
    """One request with header v1; returns the answer behind the correlation id (Kafka protocol guide)."""
    request = struct.pack(">hhih", api, version, 1, len(CLIENT_ID)) + CLIENT_ID + body
    connection.sendall(struct.pack(">i", len(request)) + request)
    (size,) = struct.unpack(">i", _exactly(connection, 4))
    return _exactly(connection, size)[4:]


def kafka_ready(address: str) -> bool:
    """The broker answers ApiVersions without an error and Metadata with at least one broker."""
    try:
        with socket.create_connection(split(address), TIMEOUT_S) as connection:
            versions = _kafka_call(connection, API_VERSIONS, 0, b"")
            metadata = _kafka_call(connection, METADATA, 1, NO_TOPICS)
        (error,) = struct.unpack_from(">h", versions)
        (brokers,) = struct.unpack_from(">i", metadata)
    except (OSError, struct.error):  # the latter: something answers that is no broker
        return False
    return bool(error == 0 and brokers > 0)


def redis_ready(address: str) -> bool:
    """Redis answers PING with PONG; while it loads its files it answers an error."""
    try:
        with socket.create_connection(split(address), TIMEOUT_S) as connection:
            connection.sendall(b"PING\r\n")
            return _exactly(connection, 7) == b"+PONG\r\n"
    except OSError:
        return False


def _http_ok(address: str, path: str) -> bool:
    host, port = split(address)
    connection = http.client.HTTPConnection(host, port, timeout=TIMEOUT_S)
    try:
        connection.request("GET", path)
        return connection.getresponse().status == HTTPStatus.OK
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


def triton_ready(http_address: str, metrics_address: str, models: tuple[str, ...]) -> bool:
    """Triton says that it is ready and so is each model, and its last port, the metrics, answers."""
    return (
        _http_ok(http_address, "/v2/health/ready")
        and all(_http_ok(http_address, f"/v2/models/{model}/ready") for model in models)
        and _http_ok(metrics_address, "/metrics")
    )
