"""The topics polyvox needs: created when they are missing, refused when they cannot work."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from kafka import KafkaAdminClient
from kafka import errors as kafka_errors

from worker.errors import ConfigInvalid
from worker.feeds.connect import admin, translate
from worker.settings import Settings


def ensure_topics(settings: Settings) -> list[str]:
    """Create the missing ones of the input and output topics; the names of those that were created.

    An output topic has one partition for each (input topic, partition): number of input topics x the partitions of
    the largest; alerts, which are few, have one in all. An existing topic is never changed.

    Raises:
        ConfigInvalid: an existing output topic has too few partitions.
        BrokerUnavailable: the cluster cannot be reached.
    """
    outputs = (settings.enriched_topic, settings.dead_letters_topic)
    with admin(settings) as client:
        found = _partition_counts(client, [*settings.input_topics, *outputs, settings.alerts_topic])
        inputs = {topic: found.get(topic, settings.partitions) for topic in settings.input_topics}
        wanted = inputs | dict.fromkeys(outputs, len(inputs) * max(inputs.values()))
        _refuse_too_few({topic: found[topic] for topic in outputs if topic in found}, wanted)
        wanted[settings.alerts_topic] = 1
        missing = {topic: count for topic, count in wanted.items() if topic not in found}
        _create(client, missing, settings)
    return list(missing)


def ensure_topic(settings: Settings, topic: str) -> bool:
    """Create one topic with the setting's partitions if it is missing; whether it was.

    Raises:
        ConfigInvalid: no legal name, or this user may not create it.
        BrokerUnavailable: the cluster cannot be reached.
    """
    with admin(settings) as client:
        if topic in _partition_counts(client, [topic]):
            return False
        _create(client, {topic: settings.partitions}, settings)
    return True


def topic_ids(settings: Settings) -> dict[str, str]:
    """Input topic to its id: what tells a recreated topic from the old one.

    Brokers since Kafka 2.8, and Tansu, give each topic a UUID (KIP-516). An older one reports none: then the id is the
    topic's name, and a topic that is deleted and made again cannot be told from the old one.

    Raises:
        ConfigInvalid: an input topic does not exist; `ensure_topics` creates it.
        BrokerUnavailable: the cluster cannot be reached.
    """
    with admin(settings) as client:
        described = {topic["name"]: topic for topic in _describe(client, settings.input_topics)}
    missing = set(settings.input_topics) - set(described)
    if missing:
        raise ConfigInvalid(f"no topic {', '.join(sorted(missing))} at {settings.kafka_brokers}: create it first")
    return {name: _id_of(described[name]) for name in settings.input_topics}


def _id_of(description: Mapping[str, Any]) -> str:
    """The topic's UUID as text; its name where the broker reports none, which is the all-zero UUID."""
    found = description.get("topic_id")
    return str(found) if found and any(character not in "0-" for character in str(found)) else str(description["name"])


def _describe(client: KafkaAdminClient, topics: Iterable[str]) -> list[dict[str, Any]]:
    """Metadata of those topics that exist; never creates one (kafka-python asks with auto-creation off)."""
    known = []
    for topic in client.describe_topics(list(topics)):
        error = kafka_errors.for_code(topic["error_code"])
        if error is kafka_errors.NoError:
            known.append(topic)
        elif error is not kafka_errors.UnknownTopicOrPartitionError:
            raise error(topic["name"])
    return known


def _partition_counts(client: KafkaAdminClient, topics: Iterable[str]) -> dict[str, int]:
    return {topic["name"]: len(topic["partitions"]) for topic in _describe(client, topics)}


def _refuse_too_few(found: Mapping[str, int], wanted: Mapping[str, int]) -> None:
    for topic, count in found.items():
        if count < wanted[topic]:
            raise ConfigInvalid(
                f"topic '{topic}' has {count} partitions and needs {wanted[topic]}, one for each partition of each "
                f"input topic: add partitions to it (kafka-topics.sh --alter --topic {topic} --partitions "
                f"{wanted[topic]}) before the first start, or name another topic in the settings"
            )


def _create(client: KafkaAdminClient, partitions: Mapping[str, int], settings: Settings) -> None:
    """Create topics and wait until their leaders are known; another client may create them at the same time."""
    if not partitions:
        return
    answer = client.create_topics(
        {
            topic: {"num_partitions": count, "replication_factor": settings.replication_factor}
            for topic, count in partitions.items()
        },
        raise_errors=False,
    )
    for topic in answer["topics"]:
        error = kafka_errors.for_code(topic["error_code"])
        if error not in (kafka_errors.NoError, kafka_errors.TopicAlreadyExistsError):
            raise translate(error(f"topic '{topic['name']}' was not created"), settings)
    client.wait_for_topics(list(partitions))
