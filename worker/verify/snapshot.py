"""One shard of the store at one moment."""

from __future__ import annotations

from worker.opinion.reader import Reader
from worker.opinion.store import Store
from worker.verify.compare import Snapshot

TRIES = 5


async def snapshot(store: Store, reader: Reader, shard: str) -> Snapshot | None:
    """Everything that is compared of a shard; None when it was written to during each of `TRIES` readings.

    Counters and positions change in one script, so counters that were read between two equal readings of the
    positions belong together, unless a replay swapped some in meanwhile.

    Raises:
        StoreUnavailable, ConfigInvalid: as the store.
    """
    before = await _moment(store, reader, shard)
    for _ in range(TRIES):
        names = await reader.buckets(shard)
        totals = await reader.totals(shard)
        posts = dict(zip(names.posts, await reader.posts(shard, names.posts), strict=True))
        mentions = dict(zip(names.mentions, await reader.mentions(shard, names.mentions), strict=True))
        after = await _moment(store, reader, shard)
        if after == before:
            return Snapshot(after[0], totals, posts, mentions)
        before = after
    return None


async def _moment(store: Store, reader: Reader, shard: str) -> tuple[dict[tuple[str, int], int], str | None]:
    """The positions, and which replay swapped last."""
    return (await store.positions([shard]))[shard], (await reader.generations()).get(shard)
