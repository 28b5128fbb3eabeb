"""From a number down to posts: where some of the posts behind it can be read."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from worker.events import SourcePosition
from worker.opinion.answers import Basis, Where, Window
from worker.opinion.cells import Bucket, Sample
from worker.opinion.queries.series import basis
from worker.opinion.queries.sums import Sums, parts_of


@dataclass(frozen=True, slots=True)
class PostRef:
    """One post of a sample.

    Args:
        event_id: as in `enriched`.
        topic_id, partition, offset: where the original record stands in its input topic.
        label: negative, neutral, positive or abstained; of an entity, that of the mention.
        hour: of its event time.
    """

    event_id: str
    topic_id: str
    partition: int
    offset: int
    label: str
    hour: Bucket


@dataclass(frozen=True, slots=True)
class PostSample:
    """Some posts of a window, and what the window holds."""

    posts: tuple[PostRef, ...]
    basis: Basis


async def drill_down(sums: Sums, window: Window, where: Where, n: int) -> PostSample:
    """See `Queries.drill_down`."""
    if where.entity is not None and (where.topic or where.language or where.source_class or where.model_version):
        raise ValueError("sample posts of an entity are kept by the hour alone: ask without other filters")
    hours = [hour for bucket in sums.buckets(window) for hour in parts_of(bucket, "hour") if sums.details_kept(hour)]
    found: list[tuple[Sample, str, Bucket]] = []
    for shard in await sums.reader.shards():
        for hour, samples in zip(hours, await _samples(sums, shard, hours, where), strict=True):
            found += [(sample, shard, hour) for sample in samples]
    lowest = sorted(found, key=lambda one: (one[0].priority, one[1], one[0].offset))[:n]
    return PostSample(tuple(_ref(*one) for one in lowest), await basis(sums, window, where))


async def _samples(sums: Sums, shard: str, hours: Sequence[Bucket], where: Where) -> list[list[Sample]]:
    """The samples of one shard, by hour."""
    if where.entity is not None:
        return await sums.reader.form_samples(shard, hours, where.entity)
    by_cell = await sums.reader.samples(shard, hours)
    return [[sample for cell, part in cells.items() if where.takes(cell) for sample in part] for cells in by_cell]


def _ref(sample: Sample, shard: str, hour: Bucket) -> PostRef:
    topic_id, _, partition = shard.rpartition(":")
    position = SourcePosition("", topic_id, int(partition), sample.offset)
    return PostRef(position.event_id, topic_id, int(partition), sample.offset, sample.label, hour)
