"""Keys side by side: breakdowns, top entities, shares of voice, and what moved most between two windows."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from worker.opinion.answers import (
    EVERYTHING,
    Basis,
    Counting,
    Dimension,
    EntityCount,
    TopEntities,
    Where,
    Window,
    takes_copies,
    total_of,
)
from worker.opinion.cells import NOTHING, OTHER, Bucket, Measures
from worker.opinion.queries.series import basis
from worker.opinion.queries.sums import Sums, require_mentions

By = Dimension | Literal["entity"]
CANDIDATES = 200
"""Of entities, so many of the most mentioned in either window are looked at for movers."""


@dataclass(frozen=True, slots=True)
class Asked:
    """What is ranked: keys of one kind, of the cells that count, in one way of counting."""

    by: By
    where: Where = EVERYTHING
    counting: Counting = "each_story_once"


@dataclass(frozen=True, slots=True)
class Voice:
    """One key's part of all posts or mentions, 0 to 1; the last one of an answer is `(other)`."""

    key: str
    measures: Measures
    share: float


@dataclass(frozen=True, slots=True)
class Voices:
    """The largest keys and `(other)`; `missing_at_most` says how many mentions each entity's count can lack."""

    voices: tuple[Voice, ...]
    basis: Basis
    missing_at_most: int = 0


@dataclass(frozen=True, slots=True)
class Mover:
    """One key in two windows.

    Args:
        before, after: what was counted.
        volume_z: the change of its share of all posts, in standard errors (two proportions).
        sentiment_z: the change of its net sentiment, in standard errors; 0 when either has no label.
    """

    key: str
    before: Measures
    after: Measures
    volume_z: float
    sentiment_z: float


@dataclass(frozen=True, slots=True)
class Movers:
    """The keys that moved most, the most moved first."""

    movers: tuple[Mover, ...]
    before: Basis
    after: Basis


async def breakdown(
    sums: Sums, window: Window, by: Sequence[Dimension], where: Where, counting: Counting
) -> dict[tuple[str, ...], Measures]:
    """See `Queries.breakdown`."""
    if where.entity is not None:
        raise ValueError("a breakdown counts posts; ask series() for the mentions of an entity")
    groups: dict[tuple[str, ...], Measures] = {}
    for found in await sums.posts(sums.buckets(window)):
        for cell, measures in found.cells.items():
            if where.takes(cell) and takes_copies(cell, counting):
                group = tuple(str(getattr(cell, dimension)) for dimension in by)
                groups[group] = groups.get(group, NOTHING).plus(measures)
    return dict(sorted(groups.items(), key=lambda item: (-item[1].analysed, item[0])))


async def top_entities(sums: Sums, window: Window, n: int, where: Where, counting: Counting) -> TopEntities:
    """See `Queries.top_entities`."""
    buckets = sums.buckets(window)
    require_mentions(buckets, where)
    counts, missing = await _form_counts(sums, buckets)
    names = _most(counts)
    # All copies, unfiltered: the cells of the winners are enough; otherwise anybody may win.
    as_counted = where == EVERYTHING and counting == "all_copies"
    found = await _of_forms(sums, buckets, names[:n] if as_counted else names, Asked("entity", where, counting))
    ranked = sorted(found.items(), key=lambda item: (-item[1].analysed, item[0]))
    top = tuple(EntityCount(form, measures) for form, measures in ranked[:n] if measures.analysed)
    mentions = await _all_mentions(sums, buckets, where, counting)
    return TopEntities(entities=top, mentions=mentions, missing_at_most=missing)


async def share_of_voice(sums: Sums, window: Window, asked: Asked, n: int) -> Voices:
    """See `Queries.share_of_voice`."""
    missing = 0
    if asked.by == "entity":
        top = await top_entities(sums, window, n, asked.where, asked.counting)
        missing, whole, named = top.missing_at_most, top.mentions, [(one.form, one.measures) for one in top.entities]
    else:
        groups = await breakdown(sums, window, [asked.by], asked.where, asked.counting)
        whole = NOTHING
        for measures in groups.values():
            whole = whole.plus(measures)
        named = [(key, measures) for (key,), measures in list(groups.items())[:n]]
    rest = whole
    for _, measures in named:
        rest = rest.minus(measures)
    posts = max(1, whole.analysed)
    voices = tuple(Voice(key, measures, measures.analysed / posts) for key, measures in [*named, (OTHER, rest)])
    return Voices(voices, await basis(sums, window, asked.where), missing)


async def top_movers(sums: Sums, before: Window, after: Window, asked: Asked, n: int) -> Movers:
    """See `Queries.top_movers`."""
    old = _Side(await basis(sums, before, asked.where))
    new = _Side(await basis(sums, after, asked.where))
    if asked.by == "entity":
        await _fill_by_entity(sums, (before, after), (old, new), asked)
    else:
        for side, window in ((old, before), (new, after)):
            groups = await breakdown(sums, window, [asked.by], asked.where, asked.counting)
            side.measures = {key: measures for (key,), measures in groups.items()}
            side.posts = sum(measures.analysed for measures in groups.values())
    return Movers(tuple(movers(old.measures, new.measures, old.posts, new.posts)[:n]), old.basis, new.basis)


@dataclass(slots=True)
class _Side:
    """One of two windows."""

    basis: Basis
    measures: dict[str, Measures] = field(default_factory=dict)
    posts: int = 0


async def _fill_by_entity(sums: Sums, windows: tuple[Window, Window], sides: tuple[_Side, _Side], asked: Asked) -> None:
    """Read the most mentioned forms of either window in both."""
    buckets = [sums.buckets(window) for window in windows]
    names: set[str] = set()
    for each in buckets:
        require_mentions(each, asked.where)
        counts, _ = await _form_counts(sums, each)
        names.update(_most(counts)[:CANDIDATES])
    for side, each in zip(sides, buckets, strict=True):
        side.measures = await _of_forms(sums, each, sorted(names), asked)
        side.posts = (await _all_mentions(sums, each, asked.where, asked.counting)).analysed


def movers(old: Mapping[str, Measures], new: Mapping[str, Measures], old_all: int, new_all: int) -> list[Mover]:
    """Each key of either side, the most moved first: by the larger of its two changes."""
    found = []
    for key in sorted({*old, *new}):
        was, is_now = old.get(key, NOTHING), new.get(key, NOTHING)
        volume = _z_of_shares(was.analysed, old_all, is_now.analysed, new_all)
        found.append(Mover(key, was, is_now, volume, _z_of_sentiment(was, is_now)))
    return sorted(found, key=lambda one: (-max(abs(one.volume_z), abs(one.sentiment_z)), one.key))


def _z_of_shares(was: int, of_old: int, is_now: int, of_new: int) -> float:
    """The z statistic of two proportions with the pooled share; 0 without posts on either side."""
    if not of_old or not of_new:
        return 0.0
    pooled = (was + is_now) / (of_old + of_new)
    variance = pooled * (1.0 - pooled) * (1.0 / of_old + 1.0 / of_new)
    return (is_now / of_new - was / of_old) / math.sqrt(variance) if variance > 0 else 0.0


def _z_of_sentiment(was: Measures, is_now: Measures) -> float:
    """The z statistic of two means of labels -1, 0, 1."""
    if was.net_sentiment is None or is_now.net_sentiment is None:
        return 0.0
    variance = _variance(was) / was.labelled + _variance(is_now) / is_now.labelled
    return (is_now.net_sentiment - was.net_sentiment) / math.sqrt(variance)


def _variance(measures: Measures) -> float:
    """Of labels, with one more of each, so that equal labels do not look certain."""
    labels = measures.labelled + 3
    net = (measures.positive - measures.negative) / labels
    return (measures.positive + measures.negative + 2) / labels - net**2


def _most(counts: Counter[str]) -> list[str]:
    """Names, the most mentioned first."""
    return [form for form, _ in sorted(counts.items(), key=lambda item: (-item[1], item[0]))]


async def _form_counts(sums: Sums, buckets: Sequence[Bucket]) -> tuple[Counter[str], int]:
    """Mentions of each form, copies too, and what each can lack."""
    counts: Counter[str] = Counter()
    missing = 0
    for shard in await sums.reader.shards():
        for named in await sums.reader.form_counts(shard, buckets):
            counts.update(named.counts)
            missing += named.lost
    return counts, missing


async def _of_forms(sums: Sums, buckets: Sequence[Bucket], names: Sequence[str], asked: Asked) -> dict[str, Measures]:
    """What some forms add up to in a window."""
    found: dict[str, Measures] = {}
    for forms in await sums.forms(buckets, names):
        for form, cells in forms.cells.items():
            found[form] = found.get(form, NOTHING).plus(total_of(cells, asked.where, asked.counting))
    return found


async def _all_mentions(sums: Sums, buckets: Sequence[Bucket], where: Where, counting: Counting) -> Measures:
    """All mentions of a window, exact."""
    whole = NOTHING
    for shard in await sums.reader.shards():
        for cells in await sums.reader.mentions(shard, buckets):
            whole = whole.plus(total_of(cells, where, counting))
    return whole
