"""The first contact with Kafka: a broker that refuses for good is heard.

Both clients try a refused login again until their time is up, and then say that no broker answered.
"""

from __future__ import annotations

import ssl

from aiokafka.conn import collect_hosts, create_conn
from aiokafka.errors import KafkaError, SaslAuthenticationFailed, UnsupportedSaslMechanismError

from worker.errors import BrokerUnavailable, ConfigInvalid
from worker.feeds.connect import CHECK_LOGIN, CHECK_MECHANISM, CHECK_TLS
from worker.settings import Settings
from worker.stream.kafka import REQUEST_TIMEOUT_MS, connection

REFUSALS: tuple[tuple[type[Exception], str], ...] = (
    (ssl.SSLEOFError, ""),
    (ssl.SSLZeroReturnError, ""),
    (ssl.SSLError, CHECK_TLS),
    (SaslAuthenticationFailed, CHECK_LOGIN),
    (UnsupportedSaslMechanismError, CHECK_MECHANISM),
)
"""(exception, what to check); the first that matches counts. Nothing to check: the broker went away meanwhile."""


async def log_in(settings: Settings) -> None:
    """Log in to the first broker that answers, and leave; nothing is asked of a cluster without TLS and login.

    Raises:
        ConfigInvalid: a broker refused.
        BrokerUnavailable: none answered.
    """
    if settings.kafka_protocol == "PLAINTEXT":
        return
    options = connection(settings)
    said: Exception | None = None
    for host, port, _ in collect_hosts(options.pop("bootstrap_servers")):
        try:
            made = await create_conn(host, port, request_timeout_ms=REQUEST_TIMEOUT_MS, **options)
        except (OSError, TimeoutError, KafkaError) as error:
            if advice := next((advice for kind, advice in REFUSALS if isinstance(error, kind)), ""):
                raise ConfigInvalid(f"Kafka at {host}:{port} refused: {error}; {advice}") from error
            said = error
        else:
            made.close()
            return
    raise BrokerUnavailable(f"Kafka at {settings.kafka_brokers} does not answer: {said}; check POLYVOX_KAFKA_BROKERS")
