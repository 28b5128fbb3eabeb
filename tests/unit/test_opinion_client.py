"""The map from redis-py's errors to ours, and what is said to people."""

from __future__ import annotations

import inspect

import pytest
from redis import exceptions as foreign

from worker.errors import ConfigInvalid, PolyvoxError, StoreUnavailable
from worker.opinion.client import ERRORS, TRANSIENT_REPLIES, Link, Script, translate

FOREIGN = [
    error
    for _, error in inspect.getmembers(foreign, inspect.isclass)
    if issubclass(error, Exception) and error.__module__ == foreign.__name__
]


def test_the_library_has_errors_to_map() -> None:
    """The next test would pass over an empty list."""
    assert {foreign.ConnectionError, foreign.NoScriptError, foreign.BusyLoadingError} <= set(FOREIGN)


@pytest.mark.parametrize("error", [*FOREIGN, TimeoutError, ConnectionResetError, OSError])
def test_every_foreign_error_becomes_one_of_ours(error: type[Exception]) -> None:
    """No error of redis-py reaches the stream as itself: each has an ancestor in the map, and is caught by it."""
    assert issubclass(error, tuple(ERRORS))
    instance = error.__new__(error)
    assert isinstance(translate(instance, "testing", "here"), StoreUnavailable | ConfigInvalid)


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (foreign.ConnectionError("refused"), StoreUnavailable),
        (foreign.TimeoutError("slow"), StoreUnavailable),
        (TimeoutError(), StoreUnavailable),
        (foreign.BusyLoadingError("LOADING"), StoreUnavailable),
        (foreign.ReadOnlyError("You can't write", status_code="READONLY"), StoreUnavailable),
        (foreign.OutOfMemoryError("command not allowed", status_code="OOM"), StoreUnavailable),
        (foreign.MaxConnectionsError("full"), StoreUnavailable),
        (foreign.AuthenticationError("WRONGPASS"), ConfigInvalid),
        (foreign.NoPermissionError("NOPERM"), ConfigInvalid),
        (foreign.ResponseError("WRONGTYPE Operation against a key"), ConfigInvalid),
        (foreign.DataError("not a string"), ConfigInvalid),
        (foreign.MovedError("1 other:6379"), ConfigInvalid),
    ],
)
def test_waiting_helps_or_it_does_not(error: Exception, kind: type[PolyvoxError]) -> None:
    """What passes by itself is retried for ever; what does not ends the process with a message."""
    assert type(translate(error, "testing", "here")) is kind


@pytest.mark.parametrize("code", TRANSIENT_REPLIES)
def test_a_reply_that_passes_by_itself_is_transient(code: str) -> None:
    """Also from inside a script, where Redis 6 hides the code in the middle of the line."""
    plain = foreign.ResponseError(f"{code} something")
    inner = f"Error running script (call to f_0a): @user_script:12: @user_script: 12: -{code} something"
    nested = foreign.ResponseError(inner, status_code="ERR")
    for error in (plain, nested):
        found = translate(error, "testing", "here")
        assert isinstance(found, StoreUnavailable)
        assert TRANSIENT_REPLIES[code] in str(found)


def test_messages_say_what_where_and_what_to_do_without_secrets() -> None:
    """A password in the URL is never part of a message."""
    link = Link("redis://user:s3cret@redis.example:6380/2", 1.0)
    message = str(translate(foreign.ConnectionError("refused"), "applying a batch", link.address))
    assert "redis.example:6380" in message
    assert "applying a batch" in message
    assert "POLYVOX_REDIS_URL" in message
    assert "s3cret" not in message


@pytest.mark.parametrize("url", ["localhost:6379", "http://localhost", "redis://localhost:port/0"])
def test_a_malformed_url_is_refused(url: str) -> None:
    """Before anything is connected, naming the setting."""
    with pytest.raises(ConfigInvalid, match="POLYVOX_REDIS_URL"):
        Link(url, 1.0)


def test_a_script_is_asked_for_by_the_hash_of_its_text() -> None:
    """EVALSHA takes the SHA-1 of the text."""
    assert Script("return 1").sha1 == "e0e1f9fabfc9d4800c877a703b823ac0578ff8db"
