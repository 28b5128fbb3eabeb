"""What queries read from a store, shard by shard, and how Redis answers it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Protocol

from worker.opinion import keys
from worker.opinion.cells import Bucket, Cell, Measures, Sample
from worker.opinion.client import Link

Cells = dict[Cell, Measures]
_PIECE = 500
"""Commands in one pipeline: bounds the memory of a long series."""


@dataclass(slots=True)
class Posts:
    """The posts of one bucket in one shard.

    `counts` may hold newest_event_ms, dead_lettered, resolved and too_late.
    """

    cells: Cells = field(default_factory=dict)
    counts: dict[str, int] = field(default_factory=dict)


@dataclass(slots=True)
class Forms:
    """Entities of one bucket and shard by id, with their mentions; each may lack up to `lost` of them."""

    cells: dict[str, Cells] = field(default_factory=dict)
    lost: int = 0


@dataclass(slots=True)
class FormCounts:
    """As `Forms`, but only how often each entity was mentioned: a frequent one has a thousand cells."""

    counts: dict[str, int] = field(default_factory=dict)
    lost: int = 0


@dataclass(slots=True)
class Details:
    """Who wrote the posts of one bucket and shard, and which posts they are; what `DETAILS` names for its level.

    Args:
        authors: posts by author, approximate as forms are, and without scores.
        mention_authors: mentions by author and form (`keys.author_of_form`), alike.
        samples, form_samples: some posts of each cell, and of each form that is counted by name.
    """

    authors: Forms = field(default_factory=Forms)
    mention_authors: Forms = field(default_factory=Forms)
    samples: dict[Cell, list[Sample]] = field(default_factory=dict)
    form_samples: dict[str, list[Sample]] = field(default_factory=dict)


class Stored(NamedTuple):
    """The buckets of one shard that exist."""

    posts: list[Bucket]
    mentions: list[Bucket]


class Reader(Protocol):
    """Reads the aggregates of one shard at a time; answers in the order of the buckets asked for."""

    async def shards(self) -> list[str]:
        """Every shard that was ever written, sorted."""
        ...

    async def generations(self) -> dict[str, str]:
        """Each shard, and which replay last swapped buckets of it in, "" for none; see `steady`."""
        ...

    async def totals(self, shard: str) -> dict[str, int]:
        """The counters over all time; names in `docs/redis-layout.md`."""
        ...

    async def buckets(self, shard: str) -> Stored:
        """Every bucket that is there; walks all keys of the database, so not for dashboards."""
        ...

    async def posts(self, shard: str, buckets: Sequence[Bucket]) -> list[Posts]:
        """Posts per cell, and completeness; levels minute, hour, day."""
        ...

    async def mentions(self, shard: str, buckets: Sequence[Bucket]) -> list[Cells]:
        """All mentions per cell, exact; levels five_minutes, hour, day."""
        ...

    async def form_counts(self, shard: str, buckets: Sequence[Bucket]) -> list[FormCounts]:
        """Every entity that has a count of its own there; a lower bound."""
        ...

    async def forms(self, shard: str, buckets: Sequence[Bucket], names: Sequence[str]) -> list[Forms]:
        """The mentions of some entities by id, a lower bound; one without any is left out."""
        ...

    async def authors(self, shard: str, buckets: Sequence[Bucket]) -> list[Forms]:
        """Posts by author, approximate; of minutes and hours."""
        ...

    async def mention_authors(
        self, shard: str, buckets: Sequence[Bucket], forms: Sequence[str]
    ) -> list[dict[str, Forms]]:
        """The mentions of some forms by form and author, approximate; of five minutes and hours."""
        ...

    async def samples(self, shard: str, hours: Sequence[Bucket]) -> list[dict[Cell, list[Sample]]]:
        """Some posts of each cell, lowest priority first; of hours only."""
        ...

    async def form_samples(self, shard: str, hours: Sequence[Bucket], form: str) -> list[list[Sample]]:
        """Some posts that mention a form; of hours only."""
        ...


class RedisReader:
    """The aggregates in Redis.

    Args:
        link: the connection; closed by its owner.
    """

    def __init__(self, link: Link) -> None:
        self._link = link

    async def shards(self) -> list[str]:
        async with self._link.use("listing partitions") as client:
            return sorted(map(str, await client.smembers(keys.SHARDS)))

    async def generations(self) -> dict[str, str]:
        shards = await self.shards()
        found = await self._read([keys.generation(shard) for shard in shards], lambda pipe, key: pipe.get(key))
        return {shard: name or "" for shard, name in zip(shards, found, strict=True)}

    async def totals(self, shard: str) -> dict[str, int]:
        async with self._link.use("reading totals") as client:
            found = await client.hgetall(f"{keys.prefix(shard)}:totals")
        return {str(name): int(value) for name, value in found.items()}

    async def buckets(self, shard: str) -> Stored:
        found, start, cursor = Stored([], []), f"{keys.prefix(shard)}:", 0
        while True:
            async with self._link.use("listing keys") as client:
                cursor, names = await client.scan(cursor, match=f"{start}*", count=_PIECE)
            for name in names:
                kind, _, suffix = str(name).removeprefix(start).partition(":")
                if kind in ("posts", "mentions"):
                    getattr(found, kind).append(keys.parse_bucket_suffix(suffix))
            if int(cursor) == 0:
                return Stored(sorted(set(found.posts)), sorted(set(found.mentions)))

    async def posts(self, shard: str, buckets: Sequence[Bucket]) -> list[Posts]:
        replies = await self._read(_names(shard, "posts", buckets), lambda pipe, key: pipe.hgetall(key))
        cells = await self._cells_by_id(shard)
        answer = []
        for reply in replies:
            found = Posts()
            for name, value in reply.items():
                if name in cells:
                    found.cells[cells[name]] = keys.parse_measures(value)
                else:
                    found.counts[name] = int(value)
            answer.append(found)
        return answer

    async def mentions(self, shard: str, buckets: Sequence[Bucket]) -> list[Cells]:
        replies = await self._read(_names(shard, "mentions", buckets), lambda pipe, key: pipe.hgetall(key))
        cells = await self._cells_by_id(shard)
        return [{cells[name]: keys.parse_measures(value) for name, value in reply.items()} for reply in replies]

    async def form_counts(self, shard: str, buckets: Sequence[Bucket]) -> list[FormCounts]:
        replies = await self._read(_names(shard, "forms", buckets), lambda pipe, key: pipe.hgetall(key))
        return [
            FormCounts(
                {form: int(value.partition(";")[0]) for form, value in reply.items() if form}, int(reply.get("", 0))
            )
            for reply in replies
        ]

    async def forms(self, shard: str, buckets: Sequence[Bucket], names: Sequence[str]) -> list[Forms]:
        fields = [*names, ""]
        replies = await self._read(_names(shard, "forms", buckets), lambda pipe, key: pipe.hmget(key, fields))
        cells = await self._cells_by_id(shard)
        return [_named(dict(zip(fields, reply, strict=True)), cells) for reply in replies]

    async def authors(self, shard: str, buckets: Sequence[Bucket]) -> list[Forms]:
        replies = await self._read(_names(shard, "authors", buckets), lambda pipe, key: pipe.hgetall(key))
        cells = await self._cells_by_id(shard)
        return [_named(reply, cells) for reply in replies]

    async def mention_authors(
        self, shard: str, buckets: Sequence[Bucket], forms: Sequence[str]
    ) -> list[dict[str, Forms]]:
        replies = await self._read(_names(shard, "mention_authors", buckets), lambda pipe, key: pipe.hgetall(key))
        cells = await self._cells_by_id(shard)
        return [authors_by_form(_named(reply, cells), forms) for reply in replies]

    async def samples(self, shard: str, hours: Sequence[Bucket]) -> list[dict[Cell, list[Sample]]]:
        replies = await self._read(_names(shard, "samples", hours), lambda pipe, key: pipe.hgetall(key))
        cells = await self._cells_by_id(shard)
        return [{cells[name]: keys.parse_samples(value) for name, value in reply.items()} for reply in replies]

    async def form_samples(self, shard: str, hours: Sequence[Bucket], form: str) -> list[list[Sample]]:
        replies = await self._read(_names(shard, "form_samples", hours), lambda pipe, key: pipe.hget(key, form))
        return [keys.parse_samples(value) if value else [] for value in replies]

    async def _read(self, names: Sequence[str], command: Callable[[Any, str], object]) -> list[Any]:
        """The replies to one command per key, asked for in pipelines."""
        replies: list[Any] = []
        for start in range(0, len(names), _PIECE):
            async with self._link.use("reading aggregates") as client, client.pipeline(transaction=False) as pipe:
                for name in names[start : start + _PIECE]:
                    command(pipe, name)
                replies += await pipe.execute()
        return replies

    async def _cells_by_id(self, shard: str) -> dict[str, Cell]:
        """What the numbers in the buckets mean; read after them, since numbers are only ever added."""
        async with self._link.use("reading cells") as client:
            found = await client.hgetall(f"{keys.prefix(shard)}:cells")
        return {str(number): keys.parse_cell_name(str(name)) for name, number in found.items()}


def _names(shard: str, kind: str, buckets: Sequence[Bucket]) -> list[str]:
    """The keys of some buckets."""
    return [f"{keys.prefix(shard)}:{kind}:{keys.bucket_suffix(bucket)}" for bucket in buckets]


def authors_by_form(found: Forms, forms: Sequence[str]) -> dict[str, Forms]:
    """Of mentions by author and form, those of some forms by author; each author of each may lack what `found` says."""
    by_form = {form: Forms(lost=found.lost) for form in forms}
    for name, cells in found.cells.items():
        author, form = keys.parse_author_of_form(name)
        if form in by_form:
            by_form[form].cells[author] = cells
    return by_form


def _named(reply: dict[str, str | None], cells: dict[str, Cell]) -> Forms:
    """What is counted by name, from the fields of a hash."""
    named = {name: _parse_form(value, cells) for name, value in reply.items() if name and value}
    return Forms(named, int(reply.get("") or 0))


def _parse_form(value: str, cells: dict[str, Cell]) -> Cells:
    """The cells of one form, `<mentions>;<cell number>:<measures>;...;`."""
    parts = (part.partition(":") for part in value.split(";")[1:-1])
    return {cells[number]: keys.parse_measures(measures) for number, _, measures in parts}
