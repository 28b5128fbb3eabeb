"""The producer of the hot path: whole batches, one await each."""

from __future__ import annotations

import asyncio
import ssl
import time
from collections.abc import Sequence
from typing import Any, Self

from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaConnectionError, KafkaError, KafkaTimeoutError, RequestTimedOutError
from aiokafka.helpers import create_ssl_context

from worker.errors import BrokerUnavailable, ConfigInvalid
from worker.settings import Settings
from worker.stream.records import OutputRecord
from worker.telemetry import RETRIES
from worker.timing import Backoff

RETRIABLE = (KafkaConnectionError, KafkaTimeoutError, RequestTimedOutError)
REQUEST_TIMEOUT_MS = 20_000


def ssl_context(settings: Settings) -> ssl.SSLContext | None:
    """The TLS context of the settings; None for protocols without TLS."""
    if settings.kafka_protocol not in ("SSL", "SASL_SSL"):
        return None
    files = (settings.kafka_ca_file, settings.kafka_cert_file, settings.kafka_key_file)
    try:
        ca_file, cert_file, key_file = (str(path) if path else None for path in files)
        context: ssl.SSLContext = create_ssl_context(cafile=ca_file, certfile=cert_file, keyfile=key_file)
    except (OSError, ssl.SSLError) as error:
        raise ConfigInvalid(f"TLS files for Kafka are unusable ({error}): check POLYVOX_KAFKA_*_FILE") from None
    return context


def connection(settings: Settings) -> dict[str, Any]:
    """The arguments with which aiokafka reaches the brokers."""
    arguments: dict[str, Any] = {
        "bootstrap_servers": settings.kafka_brokers,
        "security_protocol": settings.kafka_protocol,
        "ssl_context": ssl_context(settings),
    }
    if settings.kafka_protocol.startswith("SASL") and settings.kafka_password:
        arguments |= {
            "sasl_mechanism": settings.kafka_sasl_mechanism,
            "sasl_plain_username": settings.kafka_username,
            "sasl_plain_password": settings.kafka_password.get_secret_value(),
        }
    return arguments


class KafkaPublisher:
    """Publishes outcomes in order, to the partition that belongs to their source partition."""

    def __init__(self, producer: AIOKafkaProducer) -> None:
        self._producer = producer

    @classmethod
    async def connect(cls, settings: Settings) -> Self:
        """Connect to the brokers.

        Raises:
            BrokerUnavailable: no broker answers.
        """
        producer = AIOKafkaProducer(
            **connection(settings),
            acks="all",
            enable_idempotence=settings.kafka_idempotence,
            max_batch_size=settings.max_record_bytes,
            max_request_size=settings.max_record_bytes * 2,
            request_timeout_ms=REQUEST_TIMEOUT_MS,
        )
        try:
            await producer.start()
        except KafkaError as error:
            await producer.stop()
            raise BrokerUnavailable(
                f"Kafka at {settings.kafka_brokers} does not answer ({error}): check POLYVOX_KAFKA_BROKERS"
            ) from None
        return cls(producer)

    async def publish(self, partition: int, records: Sequence[OutputRecord]) -> None:
        """Return when the brokers have every record; tries again, repeating records, while they are away.

        Raises:
            BrokerUnavailable: a broker refuses a record for good (rights, size, read-only topic).
        """
        backoff = Backoff()
        while True:
            try:
                deliveries = [await delivery for delivery in self._sends(partition, records)]
                await asyncio.gather(*deliveries)
                return
            except RETRIABLE:
                RETRIES.labels(target="kafka").inc()
                await asyncio.sleep(backoff.next_s())
            except KafkaError as error:
                topics = sorted({record.topic for record in records})
                raise BrokerUnavailable(
                    f"Kafka refused outcomes for {', '.join(topics)}, partition {partition} ({error!r}): "
                    "check the topic's rights, max.message.bytes and replicas; nothing was acknowledged"
                ) from error

    def _sends(self, partition: int, records: Sequence[OutputRecord]) -> list[Any]:
        """One send for each full batch and topic, in order."""
        now_ms = time.time_ns() // 1_000_000
        batches: list[tuple[str, Any]] = []
        open_batch: dict[str, Any] = {}
        for record in records:
            fields = {"key": record.key, "value": record.value, "headers": record.headers, "timestamp": now_ms}
            builder = open_batch.get(record.topic)
            if builder is None or builder.append(**fields) is None:
                builder = open_batch[record.topic] = self._producer.create_batch()
                batches.append((record.topic, builder))
                if builder.append(**fields) is None:
                    raise BrokerUnavailable(f"a record for {record.topic} does not fit POLYVOX_MAX_RECORD_BYTES")
        return [self._producer.send_batch(batch, topic, partition=partition) for topic, batch in batches]

    async def aclose(self) -> None:
        """Flush and disconnect."""
        await self._producer.stop()
