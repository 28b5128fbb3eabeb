"""The counters of one shard in memory, and how first outcomes add to them: the same cases as in `apply.lua`."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection, Iterable
from dataclasses import dataclass, field
from typing import TypeVar

from worker.opinion import keys
from worker.opinion.cells import DETAILS, LABELS, NOTHING, Bucket, Cell, Detail, Measures, Outcome, Sample
from worker.opinion.increments import Increments
from worker.opinion.reader import Cells, Details, Forms, Posts

T = TypeVar("T")

SAMPLE_POSTS = 8
"""As in `names.lua`."""


@dataclass(slots=True)
class Counts:
    """What the outcomes of one source partition add up to; nothing is forgotten.

    Args:
        analysed: offsets of the originals that were counted as analysed.
        details: authors and samples of each bucket that has them.
    """

    analysed: set[int] = field(default_factory=set)
    totals: Counter[str] = field(default_factory=Counter)
    posts: dict[Bucket, Posts] = field(default_factory=lambda: defaultdict(Posts))
    mentions: dict[Bucket, Cells] = field(default_factory=lambda: defaultdict(dict))
    forms: dict[Bucket, Forms] = field(default_factory=lambda: defaultdict(Forms))
    details: dict[Bucket, Details] = field(default_factory=lambda: defaultdict(Details))

    def count(self, outcome: Outcome, added: Increments) -> None:
        """Count the first outcome of a record; the same as `count_outcome` in `apply.lua`.

        Args:
            added: the outcome's increments.
        """
        totals, origin = self.totals, outcome.origin_offset
        totals["received" if origin is None else "requeued"] += 1
        if outcome.kind == "tombstone":
            totals["tombstones"] += 1
            return
        if outcome.kind == "dead_lettered" and origin is not None:
            totals["dead_lettered_again"] += 1
            return
        original = outcome.position.offset if origin is None else origin
        if outcome.kind == "analysed" and original in self.analysed:
            totals["superseded"] += 1
            return
        totals.update(f"too_late:{level}" for level in added.too_late)
        if added.cell is None:
            totals.update(("dead_lettered", f"dead_lettered:{outcome.reason}"))
            self._count_in(added.buckets, "dead_lettered")
            return
        self.analysed.add(original)
        if origin is not None:
            totals["resolved"] += 1
            self._count_in(added.buckets, "resolved")
        self._count_post(added, added.cell)
        sample = Sample(added.priority, original, LABELS[added.measures.index(1)])
        for bucket in added.details:
            _count_authors(self.details[bucket], DETAILS[bucket.level], added, added.cell)
            if "samples" in DETAILS[bucket.level]:
                _offer_samples(self.details[bucket], added, added.cell, sample)

    def _count_post(self, added: Increments, cell: Cell) -> None:
        """Count an analysed post; the same as `count_post` in `apply.lua`."""
        totals = self.totals
        totals["analysed"] += 1
        totals["abstained"] += added.measures.abstained
        totals["mentions"] += len(added.mentions)
        totals["copies"] += cell.copy
        totals["newest_event_ms"] = max(totals.get("newest_event_ms", added.at_ms), added.at_ms)
        for bucket in added.buckets:
            found = self.posts[bucket]
            _add(found.cells, cell, added.measures)
            found.counts["newest_event_ms"] = max(found.counts.get("newest_event_ms", added.at_ms), added.at_ms)
        self._count_in(added.late_buckets, "too_late")
        for mention in added.mentions:
            for bucket in added.mention_buckets:
                _add(self.mentions[bucket], cell, mention.measures)
                if mention.form:
                    _add(self.forms[bucket].cells.setdefault(mention.form, {}), cell.of_form, mention.measures)

    def _count_in(self, buckets: Iterable[Bucket], name: str) -> None:
        """Count one in each bucket."""
        for bucket in buckets:
            counts = self.posts[bucket].counts
            counts[name] = counts.get(name, 0) + 1


def _count_authors(details: Details, kinds: Collection[Detail], added: Increments, cell: Cell) -> None:
    """Count a post and its mentions for their author; as `count_details` in `apply.lua` does."""
    author = added.author
    if author and "authors" in kinds:
        _add(details.authors.cells.setdefault(author, {}), cell, added.measures.without_scores)
    for mention in added.mentions if author and "mention_authors" in kinds else ():
        if mention.form:
            of_form = details.mention_authors.cells.setdefault(keys.author_of_form(author, mention.form), {})
            _add(of_form, cell.of_form, mention.measures.without_scores)


def _offer_samples(details: Details, added: Increments, cell: Cell, sample: Sample) -> None:
    """Offer a post to samples; as `count_details` in `apply.lua` does."""
    _offer(details.samples, cell, sample)
    for mention in added.mentions:
        if mention.form:
            _offer(details.form_samples, mention.form, sample._replace(label=LABELS[mention.measures.index(1)]))


def _offer(samples: dict[T, list[Sample]], key: T, sample: Sample) -> None:
    """Keep the lowest priorities; a post that mentions a form twice is one post."""
    known = [other for other in samples.get(key, ()) if other.offset != sample.offset]
    samples[key] = sorted([*known, sample])[:SAMPLE_POSTS]


def _add(cells: Cells, cell: Cell, measures: Measures) -> None:
    """Add measures to a cell."""
    cells[cell] = cells.get(cell, NOTHING).plus(measures)
