"""How far the worker's groups are behind the logs they read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from kafka import KafkaConsumer, TopicPartition

from worker.feeds.connect import admin, position_reader
from worker.feeds.log import end_offsets, partitions_of
from worker.settings import Settings


@dataclass(frozen=True, slots=True)
class PartitionLag:
    """One consumed partition; `committed` is None while no group has a position there.

    Args:
        stage: `enrich` or `aggregate`.
        begin: the first offset that retention left.
        end: the offset that the next record gets.
    """

    stage: str
    topic: str
    partition: int
    committed: int | None
    begin: int
    end: int

    @property
    def records(self) -> int:
        """Records between the position and the end of the log."""
        return self.end - max(self.begin, self.committed if self.committed is not None else self.begin)


def stage_topics(settings: Settings) -> dict[str, list[str]]:
    """The topics that each stage reads."""
    return {
        "enrich": list(settings.input_topics),
        "aggregate": [settings.enriched_topic, settings.dead_letters_topic],
    }


def lag(settings: Settings) -> list[PartitionLag]:
    """The lag of both stages, one entry for each partition; topics that are not there yet are left out.

    A stage runs in the group of its own role or of the role `all`: the one that is further counts.

    Raises:
        BrokerUnavailable: the cluster cannot be reached.
    """
    return _lag(settings, {stage: (stage, "all") for stage in stage_topics(settings)})


def own_lag(settings: Settings) -> list[PartitionLag]:
    """As `lag`, of the settings' role and its own group alone."""
    stages = stage_topics(settings) if settings.role == "all" else [settings.role]
    return _lag(settings, dict.fromkeys(stages, (settings.role,)))


def _lag(settings: Settings, roles: Mapping[str, Sequence[str]]) -> list[PartitionLag]:
    """The lag of some stages; `roles` names those whose groups count for each."""
    topics = stage_topics(settings)
    with position_reader(settings) as client:
        there = client.topics()
        partitions = {stage: _partitions(client, topics[stage], there) for stage in roles}
        every = [partition for found in partitions.values() for partition in found]
        begins = client.beginning_offsets(every) if every else {}
        ends = end_offsets(client, every)
    committed = _committed(settings, partitions, roles)
    return [
        PartitionLag(
            stage,
            partition.topic,
            partition.partition,
            committed.get(partition),
            begins[partition],
            ends[partition],
        )
        for stage, found in partitions.items()
        for partition in found
    ]


def _partitions(client: KafkaConsumer, topics: list[str], there: set[str]) -> list[TopicPartition]:
    return [partition for topic in topics if topic in there for partition in partitions_of(client, topic)]


def _committed(
    settings: Settings, partitions: Mapping[str, list[TopicPartition]], roles: Mapping[str, Sequence[str]]
) -> dict[TopicPartition, int]:
    """The furthest committed offset of each partition; the broker answers -1 where a group has none."""
    furthest: dict[TopicPartition, int] = {}
    with admin(settings) as client:
        for stage, wanted in partitions.items():
            for role in roles[stage] if wanted else ():
                group = f"{settings.app_id}.{role}"
                for partition, entry in client.list_group_offsets({group: wanted})[group].items():
                    if entry.offset >= 0:
                        furthest[partition] = max(entry.offset, furthest.get(partition, -1))
    return furthest
