"""The newest posts of `enriched`, to look into what an alert is about."""

from __future__ import annotations

import msgspec

from worker.events import EnrichedPost, decode_enriched
from worker.feeds.connect import consumer
from worker.feeds.log import end_offsets, partitions_of, read_pieces
from worker.settings import Settings


def recent_posts(settings: Settings, newest: int) -> list[EnrichedPost]:
    """The newest records of each partition, so many in all at most; repeats of an event once, in no order.

    Raises:
        ConfigInvalid: there is no such topic.
        BrokerUnavailable: the cluster cannot be reached.
    """
    found: dict[str, EnrichedPost] = {}
    with consumer(settings, "read_committed") as client:
        partitions = partitions_of(client, settings.enriched_topic)
        each = newest // len(partitions)
        begins, ends = client.beginning_offsets(partitions), end_offsets(client, partitions)
        for partition in partitions:
            begin = max(begins[partition], ends[partition] - each)
            for piece in read_pieces(client, partition, begin, ends[partition]):
                for post in filter(None, (_post_in(record.value) for record in piece)):
                    found.setdefault(post.event_id, post)
    return list(found.values())


def _post_in(value: bytes | None) -> EnrichedPost | None:
    """The post in a record; None for a tombstone, and for what polyvox did not write."""
    try:
        return decode_enriched(value) if value else None
    except msgspec.DecodeError:
        return None
