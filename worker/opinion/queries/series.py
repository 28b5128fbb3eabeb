"""Series: one point per bucket, or per sliding window that ends with it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import reduce

from worker.opinion.answers import Basis, Completeness, Point, Where, Window, total_of
from worker.opinion.cells import Bucket, Cell, Measures
from worker.opinion.increments import form_of
from worker.opinion.queries.sums import Sums, add_cells, completeness_of, require_mentions
from worker.opinion.reader import Cells


@dataclass(frozen=True, slots=True)
class Summed:
    """A bucket, or the sum of several of which it is the last.

    Args:
        buckets: all that are summed up.
        cells: posts, or mentions of the entity that was asked for; those that do not count are left out.
        completeness: of the posts, whatever was asked for.
        lost: mentions that the approximate count can lack.
    """

    buckets: tuple[Bucket, ...]
    cells: Cells
    completeness: Completeness
    lost: int = 0


async def windows(sums: Sums, window: Window, where: Where) -> list[Summed]:
    """The buckets of a window, or its sliding sums, oldest first.

    Raises:
        ValueError: mentions by the minute, or of an entity by topic.
    """
    buckets = sums.buckets(window)
    posts = await sums.posts(buckets)
    counted, lost = [found.cells for found in posts], [0] * len(buckets)
    if where.entity is not None:
        require_mentions(buckets, where)
        form = form_of(where.entity)
        forms = await sums.forms(buckets, [form])
        counted, lost = [found.cells.get(form, {}) for found in forms], [found.lost for found in forms]
    watermark_ms = await sums.watermark_ms() or 0
    each = [
        Summed(
            (bucket,),
            {cell: measures for cell, measures in cells.items() if where.takes(cell)},
            replace(completeness_of(found), complete=watermark_ms >= bucket.end_s * 1000),
            missing,
        )
        for bucket, cells, found, missing in zip(buckets, counted, posts, lost, strict=True)
    ]
    start_s = window.start.timestamp()
    summed = each if window.sum_of == 1 else _sliding(each, window.sum_of)
    return [one for one in summed if one.buckets[-1].end_s > start_s]


def _sliding(each: Sequence[Summed], count: int) -> Iterator[Summed]:
    """Sums of `count` neighbours, one for each bucket: integers, so what leaves can be taken off again."""
    running: Cells = {}
    for at, newest in enumerate(each):
        add_cells(running, newest.cells)
        for cell, measures in each[at - count].cells.items() if at >= count else ():
            running[cell] = running[cell].minus(measures)
        parts = each[max(0, at + 1 - count) : at + 1]
        yield Summed(
            tuple(part.buckets[0] for part in parts),
            {cell: measures for cell, measures in running.items() if measures.analysed},
            reduce(Completeness.plus, (part.completeness for part in parts)),
            sum(part.lost for part in parts),
        )


async def series(sums: Sums, window: Window, where: Where) -> list[Point]:
    """See `Queries.series`."""
    return [
        Point(
            bucket=each.buckets[-1],
            measures=total_of(each.cells, where),
            each_story_once=total_of(each.cells, where, "each_story_once"),
            model_versions=model_versions(each.cells),
            completeness=each.completeness,
            missing_at_most=each.lost,
        )
        for each in await windows(sums, window, where)
    ]


async def basis(sums: Sums, window: Window, where: Where) -> Basis:
    """What an answer over a whole window rests on."""
    found = await windows(sums, replace(window, sum_of=1), where)
    cells: Cells = {}
    for each in found:
        add_cells(cells, each.cells)
    whole = reduce(Completeness.plus, (each.completeness for each in found)) if found else Completeness()
    return Basis(whole, model_versions(cells))


def model_versions(cells: Mapping[Cell, Measures]) -> tuple[str, ...]:
    """The models that labelled some cells, sorted."""
    return tuple(sorted({cell.model_version for cell in cells}))
