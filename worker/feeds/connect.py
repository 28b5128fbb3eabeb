"""Kafka clients made from the settings, and the one map from kafka-python's exceptions to ours."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any, Literal, TypeVar

from kafka import KafkaAdminClient, KafkaConsumer, KafkaProducer
from kafka import errors as kafka_errors
from kafka.net.compat import KafkaNetClient

from worker.errors import BrokerUnavailable, ConfigInvalid, PolyvoxError, Transient
from worker.settings import Settings

Client = TypeVar("Client", KafkaAdminClient, KafkaConsumer, KafkaProducer)

Isolation = Literal["read_uncommitted", "read_committed"]
"""Whether records of open and aborted transactions are read; the worker reads without them."""

BOOTSTRAP_TIMEOUT_MS = 5_000
REQUEST_TIMEOUT_MS = 10_000
DELIVERY_TIMEOUT_MS = 30_000
"""How long a record may wait for the brokers before its delivery is reported as failed."""

CLOSE_TIMEOUT_S = 5.0
"""How long closing a producer waits for what is still on its way, as after Ctrl-C."""

FETCH_WAIT_MS = 50
"""How long a broker holds a fetch that finds nothing; short, because `end_offsets` waits for one such answer."""

CHECK_LOGIN = "check POLYVOX_KAFKA_USERNAME and POLYVOX_KAFKA_PASSWORD"
CHECK_MECHANISM = "check POLYVOX_KAFKA_SASL_MECHANISM"
CHECK_TLS = "check POLYVOX_KAFKA_PROTOCOL and POLYVOX_KAFKA_CA_FILE"

FOREIGN: tuple[tuple[type[Exception], type[PolyvoxError], str], ...] = (
    (kafka_errors.AuthorizationError, ConfigInvalid, "this user may not do that: check the cluster's ACLs"),
    (kafka_errors.SaslAuthenticationFailedError, ConfigInvalid, f"the login was refused: {CHECK_LOGIN}"),
    (
        kafka_errors.UnsupportedSaslMechanismError,
        ConfigInvalid,
        f"the cluster does not offer this login: {CHECK_MECHANISM}",
    ),
    (kafka_errors.KafkaConfigurationError, ConfigInvalid, "check the POLYVOX_KAFKA_* settings"),
    (kafka_errors.InvalidTopicError, ConfigInvalid, "that is no legal topic name"),
    (
        kafka_errors.InvalidReplicationFactorError,
        ConfigInvalid,
        "there are fewer brokers than replicas: set POLYVOX_REPLICATION_FACTOR",
    ),
    (kafka_errors.UnknownTopicOrPartitionError, ConfigInvalid, "the topic or partition does not exist"),
    (
        kafka_errors.KafkaTimeoutError,
        BrokerUnavailable,
        "no answer in time: check POLYVOX_KAFKA_BROKERS and POLYVOX_KAFKA_PROTOCOL; `polyvox up` starts a local one",
    ),
    (kafka_errors.KafkaError, BrokerUnavailable, "try again when the cluster is healthy"),
)
"""(kafka-python's exception, ours, what to do); the first that matches counts, the last takes the rest."""


def translate(error: Exception, settings: Settings) -> PolyvoxError:
    """Our exception for one of `FOREIGN`, naming the brokers and what to do."""
    ours, advice = next((ours, advice) for foreign, ours, advice in FOREIGN if isinstance(error, foreign))
    if isinstance(error, kafka_errors.KafkaTimeoutError) and settings.kafka_protocol.startswith("SASL"):
        # Brokers hang up after a refusal, and kafka-python may then not have read it.
        advice += f"; after a refused login it looks the same: {CHECK_LOGIN}, and {CHECK_MECHANISM}"
    return ours(f"Kafka at {settings.kafka_brokers}: {_first_line(error)}; {advice}")


def _first_line(error: Exception) -> str:
    """What happened in one line: the class says it where the message is empty or a dump of the request."""
    text = str(error).strip().splitlines()[0] if str(error).strip() else ""
    name = type(error).__name__
    return text[:200] if text.startswith(name) else f"{name}: {text[:200]}" if text else name


@contextmanager
def broker_errors(settings: Settings) -> Iterator[None]:
    """Raise our exceptions in place of kafka-python's.

    Raises:
        BrokerUnavailable: the cluster cannot be reached or refuses for now.
        ConfigInvalid: a login, certificate, topic or right that no retry helps with.
    """
    try:
        yield
    except kafka_errors.KafkaError as error:
        raise translate(error, settings) from error


def _opened(make: Callable[..., Client], settings: Settings, **options: object) -> Client:
    """A connected client; kafka-python reads the certificate files while it connects."""
    with ExitStack() as unfinished:

        def net_client(**configs: object) -> KafkaNetClient:
            client = KafkaNetClient(**configs)
            unfinished.callback(_end, client)
            return client

        try:
            with _refusals() as met:
                made = make(**client_options(settings), kafka_client=net_client, **options)
        except kafka_errors.KafkaTimeoutError as error:
            raise refused(met, settings) or error from error
        except OSError as error:
            raise _unusable_file(error) from error
        unfinished.pop_all()
        return made


def _end(client: KafkaNetClient) -> None:
    """What a client that could not connect leaves behind for ever: a thread and four file handles."""
    client.close()
    client._net.stop()


@contextmanager
def _refusals() -> Iterator[list[Exception]]:
    """What the brokers refuse meanwhile: kafka-python says it in its log, tries again, and then took too long."""
    met: list[Exception] = []

    class Collector(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            met.extend(each for each in record.args or () if isinstance(each, Exception))

    collector, log = Collector(logging.ERROR), logging.getLogger("kafka.net")
    log.addHandler(collector)
    try:
        yield met
    finally:
        log.removeHandler(collector)


def refused(met: Sequence[Exception], settings: Settings) -> PolyvoxError | None:
    """The first of the errors that no retry helps with, in our terms; None when all may pass."""
    for error in met:
        if isinstance(error, FileNotFoundError | IsADirectoryError | PermissionError):
            return _unusable_file(error)
        if "[SSL:" in str(error) and "EOF" not in str(error):  # at an end of file, the broker went away meanwhile
            return ConfigInvalid(f"Kafka at {settings.kafka_brokers}: {_first_line(error)}; {CHECK_TLS}")
        if isinstance(error, kafka_errors.KafkaError) and not isinstance(ours := translate(error, settings), Transient):
            return ours
    return None


def _unusable_file(error: OSError) -> ConfigInvalid:
    return ConfigInvalid(
        f"a file that reaching Kafka needs cannot be used: {error}; check POLYVOX_KAFKA_CA_FILE, "
        "POLYVOX_KAFKA_CERT_FILE and POLYVOX_KAFKA_KEY_FILE"
    )


def client_options(settings: Settings) -> dict[str, Any]:
    """The arguments that every kafka-python client takes: where the brokers are and how they are reached."""
    options: dict[str, Any] = {
        "bootstrap_servers": [broker.strip() for broker in settings.kafka_brokers.split(",")],
        "bootstrap_timeout_ms": BOOTSTRAP_TIMEOUT_MS,
        "request_timeout_ms": REQUEST_TIMEOUT_MS,
        "security_protocol": settings.kafka_protocol,
    }
    files = {
        "ssl_cafile": settings.kafka_ca_file,
        "ssl_certfile": settings.kafka_cert_file,
        "ssl_keyfile": settings.kafka_key_file,
    }
    options |= {name: str(path) for name, path in files.items() if path is not None}
    if settings.kafka_protocol.startswith("SASL") and settings.kafka_password is not None:
        options |= {
            "sasl_mechanism": settings.kafka_sasl_mechanism,
            "sasl_plain_username": settings.kafka_username,
            "sasl_plain_password": settings.kafka_password.get_secret_value(),
        }
    return options


@contextmanager
def admin(settings: Settings) -> Iterator[KafkaAdminClient]:
    """An admin client; errors as in `broker_errors`."""
    with broker_errors(settings):
        client = _opened(KafkaAdminClient, settings)
        try:
            yield client
        finally:
            client.close()


@contextmanager
def consumer(settings: Settings, isolation: Isolation = "read_uncommitted") -> Iterator[KafkaConsumer]:
    """A consumer without a group: its partitions are assigned by hand; errors as in `broker_errors`.

    A group would cost a join, which Tansu holds for the whole rebalance timeout.
    """
    with _assigned(settings, isolation_level=isolation) as client:
        yield client


@contextmanager
def position_reader(settings: Settings) -> Iterator[KafkaConsumer]:
    """As `consumer`, for where logs begin and end: records that come with the answers are not to be used.

    Their checksums are not looked at: without the package `crc32c` kafka-python reckons them in Python, byte by byte,
    0.1 s a megabyte under the interpreter's lock.
    """
    with _assigned(settings, check_crcs=False) as client:
        yield client


@contextmanager
def _assigned(settings: Settings, **options: object) -> Iterator[KafkaConsumer]:
    with broker_errors(settings):
        client = _opened(
            KafkaConsumer,
            settings,
            group_id=None,
            enable_auto_commit=False,
            auto_offset_reset="earliest",
            allow_auto_create_topics=False,
            fetch_max_wait_ms=FETCH_WAIT_MS,
            **options,
        )
        try:
            yield client
        finally:
            client.close()


@contextmanager
def producer(settings: Settings, delivery_timeout_ms: int = DELIVERY_TIMEOUT_MS) -> Iterator[KafkaProducer]:
    """A producer that waits for all replicas, each record so long at most; errors as in `broker_errors`.

    The largest request is the larger of Kafka's default and the setting: the broker has the last word.
    """
    with broker_errors(settings):
        client = _opened(
            KafkaProducer,
            settings,
            acks="all",
            enable_idempotence=settings.kafka_idempotence,
            allow_auto_create_topics=False,
            delivery_timeout_ms=delivery_timeout_ms,
            max_block_ms=REQUEST_TIMEOUT_MS,
            max_request_size=max(1_048_576, settings.max_record_bytes + 4096),
        )
        try:
            yield client
        finally:
            client.close(timeout=CLOSE_TIMEOUT_S)
