"""Loopback ports: find free ones, refuse busy ones with a line that says what to do."""

from __future__ import annotations

import errno
import random
import socket

from worker.errors import PlatformUnsupported

LOOPBACK = "127.0.0.1"
FREE_RANGE = range(10_000, 32_000)  # below Linux's ephemeral ports, which outgoing connections take at any moment
ATTEMPTS = 200


def _bind_error(port: int) -> OSError | None:
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as the servers do: TIME_WAIT is no obstacle
        try:
            probe.bind((LOOPBACK, port))
        except OSError as error:
            return error
    return None


def free_port(taken: set[int]) -> int:
    """A port that nothing listens on and that is not in `taken`; it is added to `taken`."""
    for port in random.sample(FREE_RANGE, ATTEMPTS):
        if port not in taken and _bind_error(port) is None:
            taken.add(port)
            return port
    raise PlatformUnsupported(
        f"no free port among {ATTEMPTS} tried on {LOOPBACK} between {FREE_RANGE.start} and {FREE_RANGE.stop}: "
        "stop other servers, or choose fixed ports"
    )


def require_free(port: int, server: str) -> int:
    """The port itself when it can be bound.

    Raises:
        PlatformUnsupported: something listens there, or binding is not allowed.
    """
    error = _bind_error(port)
    if error is None:
        return port
    if error.errno == errno.EADDRINUSE:
        raise PlatformUnsupported(
            f"{server}: port {port} on {LOOPBACK} is in use: stop what listens there (ss -ltnp 'sport = :{port}'), "
            "or choose another port, or 0 for a free one"
        )
    raise PlatformUnsupported(
        f"{server}: cannot listen on port {port} of {LOOPBACK}: {error.strerror}; choose another port"
    )
