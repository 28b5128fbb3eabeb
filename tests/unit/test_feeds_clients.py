"""What can be said of the Kafka clients without a broker: options, errors, pace."""

from __future__ import annotations

import gc
import inspect
import logging
import threading
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from kafka import errors as kafka_errors

from worker.errors import BrokerUnavailable, ConfigInvalid, PolyvoxError
from worker.feeds import connect
from worker.feeds.connect import admin, client_options, consumer, producer, refused, translate
from worker.feeds.lag import PartitionLag
from worker.feeds.produce import rate
from worker.local.ports import free_port
from worker.settings import Settings, load_settings
from worker.timing import ManualClock

KAFKA_ERRORS = [
    error
    for _, error in inspect.getmembers(kafka_errors, inspect.isclass)
    if issubclass(error, kafka_errors.KafkaError)
]


@pytest.mark.parametrize("error", KAFKA_ERRORS, ids=lambda error: error.__name__)
def test_every_error_of_the_client_has_one_of_ours(error: type[kafka_errors.KafkaError]) -> None:
    """No exception of kafka-python reaches the command line; each message names the brokers."""
    ours = translate(error("x"), Settings(kafka_brokers="somewhere:9092"))
    assert isinstance(ours, PolyvoxError)
    assert "somewhere:9092" in str(ours)
    assert "\n" not in str(ours)


def test_errors_that_time_cannot_heal_are_told_apart() -> None:
    """A refused login is the configuration's fault; a timeout is not."""
    settings = Settings()
    assert isinstance(translate(kafka_errors.SaslAuthenticationFailedError(), settings), ConfigInvalid)
    assert isinstance(translate(kafka_errors.TopicAuthorizationFailedError(), settings), ConfigInvalid)
    assert isinstance(translate(kafka_errors.KafkaTimeoutError(), settings), BrokerUnavailable)


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (FileNotFoundError("no such file"), "POLYVOX_KAFKA_CA_FILE"),
        (kafka_errors.KafkaConnectionError("Handshake failed: [SSL: WRONG_VERSION_NUMBER]"), "POLYVOX_KAFKA_PROTOCOL"),
        (kafka_errors.SaslAuthenticationFailedError("invalid credentials"), "POLYVOX_KAFKA_PASSWORD"),
        (kafka_errors.UnsupportedSaslMechanismError("PLAIN"), "POLYVOX_KAFKA_SASL_MECHANISM"),
    ],
)
def test_what_brokers_refused_is_said_instead_of_a_timeout(error: Exception, said: str) -> None:
    """Among errors that may pass, the first that does not is the reason."""
    passing = [
        ConnectionRefusedError("refused"),
        kafka_errors.KafkaConnectionError("socket disconnected"),
        kafka_errors.KafkaConnectionError("Handshake failed: [SSL: UNEXPECTED_EOF_WHILE_READING]"),
    ]
    found = refused([*passing, error, *passing], Settings())
    assert isinstance(found, ConfigInvalid)
    assert said in str(found)
    assert refused(passing, Settings()) is None


def test_a_timeout_names_the_login_where_there_is_one() -> None:
    """A refusal may have been lost when the broker hung up; without a login there is none to check."""
    login = load_settings(kafka_protocol="SASL_SSL", kafka_username="u", kafka_password="p")
    assert "POLYVOX_KAFKA_PASSWORD" in str(translate(kafka_errors.KafkaTimeoutError(), login))
    assert "POLYVOX_KAFKA_PASSWORD" not in str(translate(kafka_errors.KafkaTimeoutError(), Settings()))


@pytest.mark.parametrize("open_client", [admin, consumer, producer])
def test_a_client_that_cannot_connect_leaves_nothing_behind(
    open_client: Callable[[Settings], AbstractContextManager[object]],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """A worker looks every few seconds: an outage of an hour would take all file handles, and a thousand threads."""
    caplog.set_level(logging.CRITICAL)  # what is captured keeps errors, and these keep clients
    monkeypatch.setattr(connect, "BOOTSTRAP_TIMEOUT_MS", 50)
    nobody = Settings(kafka_brokers=f"127.0.0.1:{free_port(set())}")

    def held() -> tuple[int, int]:
        gc.collect()
        return threading.active_count(), len(list(Path("/proc/self/fd").iterdir()))

    before = held()
    for _ in range(3):
        with pytest.raises(BrokerUnavailable), open_client(nobody):
            pass
    assert held() <= before


def test_tls_and_sasl_settings_reach_the_client() -> None:
    """Each security setting becomes kafka-python's option of that meaning."""
    options = client_options(
        load_settings(
            kafka_brokers="a:1, b:2",
            kafka_protocol="SASL_SSL",
            kafka_sasl_mechanism="SCRAM-SHA-256",
            kafka_username="u",
            kafka_password="p",
            kafka_ca_file="/ca.pem",
            kafka_cert_file="/cert.pem",
            kafka_key_file="/key.pem",
        )
    )
    expected = {
        "bootstrap_servers": ["a:1", "b:2"],
        "security_protocol": "SASL_SSL",
        "sasl_mechanism": "SCRAM-SHA-256",
        "sasl_plain_username": "u",
        "sasl_plain_password": "p",
        "ssl_cafile": "/ca.pem",
        "ssl_certfile": "/cert.pem",
        "ssl_keyfile": "/key.pem",
    }
    assert expected.items() <= options.items()


def test_a_plaintext_cluster_gets_no_login() -> None:
    """Without SASL no credential is sent, even when one is set."""
    options = client_options(load_settings(kafka_username="u", kafka_password="p"))
    assert not [name for name in options if name.startswith(("sasl", "ssl"))]


@given(st.floats(0.5, 5000), st.lists(st.floats(0, 3), min_size=1, max_size=60))
def test_a_rate_is_never_exceeded_by_more_than_a_second_of_posts(posts_per_s: float, delays_s: list[float]) -> None:
    """Whatever the delays between posts, no window holds more than its share and one second's worth."""
    clock = ManualClock(0.0)
    pace = rate(posts_per_s, clock.monotonic_s, clock.advance)
    sent_s: list[float] = []
    for sent, delay_s in enumerate(delays_s):
        clock.advance(delay_s)
        pace(sent)
        sent_s.append(clock.monotonic_s())
    for first in range(len(sent_s)):
        for last in range(first, len(sent_s)):
            allowed = (sent_s[last] - sent_s[first] + 1.0) * posts_per_s + 1
            assert last - first <= allowed + 1e-6 * allowed


def test_a_rate_is_reached() -> None:
    """Without delays, posts leave evenly: the hundredth at 10 posts/s leaves after 9.9 s."""
    clock = ManualClock(0.0)
    pace = rate(10, clock.monotonic_s, clock.advance)
    for sent in range(100):
        pace(sent)
    assert clock.monotonic_s() == pytest.approx(9.9)


@pytest.mark.parametrize(
    ("committed", "begin", "end", "records"), [(None, 3, 10, 7), (8, 3, 10, 2), (1, 3, 10, 7), (10, 3, 10, 0)]
)
def test_lag_counts_what_can_still_be_read(committed: int | None, begin: int, end: int, records: int) -> None:
    """Records that retention removed are no lag; a group without a position is behind by the whole log."""
    assert PartitionLag("g", "t", 0, committed, begin, end).records == records
