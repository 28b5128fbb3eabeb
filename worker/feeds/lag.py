"""How far the worker's groups are behind the logs they read."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from kafka import KafkaConsumer, TopicPartition

from worker.feeds.connect import admin, consumer
from worker.feeds.log import end_offsets, partitions_of
from worker.settings import Settings


@dataclass(frozen=True, slots=True)
class PartitionLag:
    """One consumed partition; `committed` is None while the group has no position there."""

    group: str
    topic: str
    partition: int
    committed: int | None
    begin: int
    end: int

    @property
    def records(self) -> int:
        """Records between the group's position and the end of the log."""
        return self.end - max(self.begin, self.committed if self.committed is not None else self.begin)


def group_topics(settings: Settings) -> dict[str, list[str]]:
    """The consumer group of each stage, and the topics that it reads."""
    return {
        f"{settings.app_id}.enrich": list(settings.input_topics),
        f"{settings.app_id}.aggregate": [settings.enriched_topic, settings.dead_letters_topic],
    }


def lag(settings: Settings) -> list[PartitionLag]:
    """The lag of both stages, one entry for each partition; topics that are not there yet are left out.

    Raises:
        BrokerUnavailable: the cluster cannot be reached.
    """
    groups = group_topics(settings)
    with consumer(settings) as client:
        there = client.topics()
        partitions = {group: _partitions(client, topics, there) for group, topics in groups.items()}
        every = [partition for found in partitions.values() for partition in found]
        begins = client.beginning_offsets(every) if every else {}
        ends = end_offsets(client, every)
    committed = _committed(settings, {group: found for group, found in partitions.items() if found})
    return [
        PartitionLag(
            group,
            partition.topic,
            partition.partition,
            committed[group].get(partition),
            begins[partition],
            ends[partition],
        )
        for group, found in partitions.items()
        for partition in found
    ]


def _partitions(client: KafkaConsumer, topics: list[str], there: set[str]) -> list[TopicPartition]:
    return [partition for topic in topics if topic in there for partition in partitions_of(client, topic)]


def _committed(
    settings: Settings, partitions: Mapping[str, list[TopicPartition]]
) -> dict[str, dict[TopicPartition, int]]:
    """The committed offsets of each group; the broker answers -1 where there is none."""
    with admin(settings) as client:
        found = {group: client.list_group_offsets({group: wanted})[group] for group, wanted in partitions.items()}
    return {
        group: {partition: entry.offset for partition, entry in offsets.items() if entry.offset >= 0}
        for group, offsets in found.items()
    }
