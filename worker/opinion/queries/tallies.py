"""What the index is computed from: weighted labels by cell, with authors capped and as clusters."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from worker.opinion.answers import EVERYTHING, Completeness, Counting, Where, Window, takes_copies
from worker.opinion.cells import Bucket, Cell, Measures
from worker.opinion.index.tally import Tally
from worker.opinion.queries.capping import Capped, capped
from worker.opinion.queries.series import model_versions, windows
from worker.opinion.queries.sums import Sums, add_cells, merge_forms, parts_of, require_mentions
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
    written = await _written(sums, [bucket for each in found for bucket in each.buckets], where.entity)
    answers = []
    for each in found:
        authors = _authors(each.buckets, written, where.entity)
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
    parts = _known_by(bucket, of_mentions=True)
    lists = await sums.mention_authors(parts, entities) if all(map(sums.details_kept, parts)) else []
    return {
        entity: _weighted(cells, merge_forms(each[entity] for each in lists), cap).cells
        for entity, cells in found.cells.items()
    }


def _weighted(cells: Mapping[Cell, Measures], authors: Forms | None, cap: Cap) -> Capped:
    """Cells in one way of counting, and no author above the cap."""
    counting = cap.counting
    all_cells = counted(cells, counting)
    most = max(1.0, cap.author_max_share * sum(measures.analysed for measures in all_cells.values()))
    named = {} if authors is None else {name: counted(one, counting) for name, one in authors.cells.items()}
    return capped(all_cells, named, most)


async def _written(sums: Sums, buckets: Iterable[Bucket], entity: str | None) -> dict[Bucket, Forms]:
    """What authors wrote, or how often they mentioned an entity, in each part of some buckets that still tells."""
    parts = sorted({part for bucket in buckets for part in _known_by(bucket, of_mentions=entity is not None)})
    kept = [part for part in parts if sums.details_kept(part)]
    if entity is None:
        lists = await sums.authors(kept)
    else:
        lists = [found[entity] for found in await sums.mention_authors(kept, [entity])]
    return dict(zip(kept, lists, strict=True))


def _authors(buckets: Iterable[Bucket], written: Mapping[Bucket, Forms], entity: str | None) -> Forms | None:
    """What authors wrote in one window; None when not all of its parts tell."""
    parts = [part for bucket in buckets for part in _known_by(bucket, of_mentions=entity is not None)]
    return merge_forms(written[part] for part in parts) if all(part in written for part in parts) else None


def _known_by(bucket: Bucket, *, of_mentions: bool) -> list[Bucket]:
    """The parts of a bucket by which authors are counted: hours, or posts by the minute, mentions by five."""
    return parts_of(bucket, "hour") or parts_of(bucket, "five_minutes" if of_mentions else "minute")
