"""What the index is computed from: weighted labels by cell, with authors capped and as clusters."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass

from worker.opinion.answers import EVERYTHING, Completeness, Counting, Where, Window, takes_copies
from worker.opinion.cells import Bucket, Cell, Level, Measures
from worker.opinion.index.tally import Tally
from worker.opinion.queries.capping import Capped, capped
from worker.opinion.queries.series import model_versions, windows
from worker.opinion.queries.sums import (
    Sums,
    add_cells,
    add_forms,
    merge_forms,
    parts_of,
    require_mentions,
    take_forms,
)
from worker.opinion.reader import Cells, Forms


@dataclass(frozen=True, slots=True, kw_only=True)
class Tallied:
    """One bucket, or the sliding window that ends with it.

    Args:
        cells: weighted labels; no key says `copy`, whichever way they were counted.
        missing_at_most: of an entity, how many mentions the approximate count can lack.
        authors_capped: how many authors' weights were cut.
        author_can_hide: posts that an author whom the bounded lists lost can have in the window at most; None where
            authors are forgotten (after `POLYVOX_RETENTION_DETAILS_S`): nobody is capped and each post is a cluster.
    """

    bucket: Bucket
    cells: Mapping[Cell, Tally]
    model_versions: tuple[str, ...]
    completeness: Completeness
    missing_at_most: int = 0
    authors_capped: int = 0
    author_can_hide: int | None = None


@dataclass(frozen=True, slots=True)
class Cap:
    """How posts count: copies or not, and the most that one author weighs, as a share of the posts in the window."""

    counting: Counting
    author_max_share: float


async def tallies(sums: Sums, window: Window, where: Where, cap: Cap) -> list[Tallied]:
    """See `Queries.tallies`."""
    found = await windows(sums, window, where)
    windows_parts = [_known_by(each.buckets, of_mentions=where.entity is not None) for each in found]
    written = await _written(sums, sorted(set().union(*windows_parts)), where.entity, cap.counting)
    answers = []
    for each, authors in zip(found, _sliding(windows_parts, written), strict=True):
        weighted = _weighted(each.cells, authors, cap)
        answers.append(
            Tallied(
                bucket=each.buckets[-1],
                cells=weighted.cells,
                model_versions=model_versions(each.cells),
                completeness=each.completeness,
                missing_at_most=each.lost,
                authors_capped=weighted.authors,
                author_can_hide=None if authors is None else authors.lost,
            )
        )
    return answers


def counted(cells: Mapping[Cell, Measures], counting: Counting) -> Cells:
    """The cells in one way of counting, copies merged with what they repeat."""
    merged: Cells = {}
    for cell, measures in cells.items():
        if takes_copies(cell, counting):
            add_cells(merged, {cell._replace(copy=False): measures})
    return merged


async def entity_tallies(
    sums: Sums, bucket: Bucket, entities: Sequence[str], cap: Cap
) -> dict[str, Mapping[Cell, Tally]]:
    """See `Queries.entity_tallies`."""
    require_mentions([bucket], EVERYTHING)
    [found] = await sums.forms([bucket], entities)
    parts = _known_by([bucket], of_mentions=True)
    lists = await sums.mention_authors(sorted(parts), entities) if all(map(sums.details_kept, parts)) else []
    return {
        entity: _weighted(cells, merge_forms(_counted(each[entity], cap.counting) for each in lists), cap).cells
        for entity, cells in found.cells.items()
    }


def _weighted(cells: Mapping[Cell, Measures], authors: Forms | None, cap: Cap) -> Capped:
    """Cells in one way of counting, as authors are already, and none of these above the cap."""
    whole = counted(cells, cap.counting)
    most = max(1.0, cap.author_max_share * sum(measures.analysed for measures in whole.values()))
    return capped(whole, {} if authors is None else authors.cells, most)


async def _written(sums: Sums, parts: Sequence[Bucket], entity: str | None, counting: Counting) -> dict[Bucket, Forms]:
    """What authors wrote, or how often they mentioned an entity, in each part that still tells."""
    kept = [part for part in parts if sums.details_kept(part)]
    if entity is None:
        lists = await sums.authors(kept)
    else:
        lists = [found[entity] for found in await sums.mention_authors(kept, [entity])]
    return {part: _counted(found, counting) for part, found in zip(kept, lists, strict=True)}


def _counted(authors: Forms, counting: Counting) -> Forms:
    """What authors wrote in one way of counting; without those of whom nothing counts."""
    named = {name: counted(cells, counting) for name, cells in authors.cells.items()}
    return Forms({name: cells for name, cells in named.items() if cells}, authors.lost)


def _sliding(windows_parts: Sequence[Set[Bucket]], written: Mapping[Bucket, Forms]) -> Iterator[Forms | None]:
    """What authors wrote in each window until the next is asked for; None where not all of its parts tell.

    Neighbours share most of their parts: only what is new is added, and what has left is taken off.
    """
    running, inside = Forms(), frozenset[Bucket]()
    for parts in windows_parts:
        if parts <= written.keys():
            for part in parts - inside:
                add_forms(running, written[part])
            for part in inside - parts:
                take_forms(running, written[part])
            inside = frozenset(parts)
            yield running
        else:
            yield None


def _known_by(buckets: Iterable[Bucket], *, of_mentions: bool) -> set[Bucket]:
    """The parts of buckets by which authors are counted: hours, or posts by the minute, mentions by five."""
    fine: Level = "five_minutes" if of_mentions else "minute"
    return {part for bucket in buckets for part in parts_of(bucket, "hour") or parts_of(bucket, fine)}
