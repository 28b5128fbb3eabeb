"""What the index is computed from: weighted labels by cell, with authors capped and as clusters."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from worker.opinion.answers import Completeness, Counting, Where, Window, takes_copies
from worker.opinion.cells import WIDTH_S, Bucket, Cell, Measures
from worker.opinion.increments import form_of
from worker.opinion.index.tally import Tally
from worker.opinion.queries.capping import capped
from worker.opinion.queries.series import Summed, model_versions, windows
from worker.opinion.queries.sums import Sums, add_cells, merge_forms
from worker.opinion.reader import Cells, Forms

HOUR_S = WIDTH_S["hour"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Tallied:
    """One bucket, or the sliding window that ends with it.

    Args:
        cells: weighted labels; no key says `copy`, whichever way they were counted.
        missing_at_most: of an entity, how many mentions the approximate count can lack.
        authors_capped: how many authors' weights were cut.
        author_can_hide: posts that an author whom the bounded lists lost can have in the window at most; None where
            authors are not known (minutes, and hours older than `POLYVOX_RETENTION_DETAILS_S`): nobody is capped and
            each post is a cluster.
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
    by_hour = await _by_hour(sums, found, where)
    answers = []
    for each in found:
        authors = _authors(each, by_hour)
        cells = counted(each.cells, cap.counting)
        most = max(1.0, cap.author_max_share * sum(measures.analysed for measures in cells.values()))
        named = {} if authors is None else {name: counted(one, cap.counting) for name, one in authors.cells.items()}
        weighted = capped(cells, named, most)
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


async def _by_hour(sums: Sums, found: Sequence[Summed], where: Where) -> dict[Bucket, Forms]:
    """What authors wrote in each hour of the windows that still has it."""
    hours = sorted({hour for each in found for bucket in each.buckets for hour in hours_of(bucket)})
    kept = [hour for hour in hours if sums.details_kept(hour)]
    form = None if where.entity is None else form_of(where.entity)
    return dict(zip(kept, await sums.authors(kept, form), strict=True))


def _authors(each: Summed, by_hour: Mapping[Bucket, Forms]) -> Forms | None:
    """What authors wrote in one window; None when not all of its hours tell."""
    hours = [hour for bucket in each.buckets for hour in hours_of(bucket)]
    if not hours or any(hour not in by_hour for hour in hours):
        return None
    return merge_forms(by_hour[hour] for hour in hours)


def hours_of(bucket: Bucket) -> list[Bucket]:
    """The hours that a bucket consists of; none for a part of an hour."""
    if bucket.level not in ("hour", "day"):
        return []
    return [Bucket("hour", start_s) for start_s in range(bucket.start_s, bucket.end_s, HOUR_S)]
