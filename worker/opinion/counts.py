"""The counters of one shard in memory, and how first outcomes add to them: the same cases as in `apply.lua`."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field

from worker.opinion.cells import NOTHING, Bucket, Cell, CopyKey, Measures, Outcome
from worker.opinion.increments import Increments
from worker.opinion.reader import Cells, Forms, Posts


@dataclass(slots=True)
class Counts:
    """What the outcomes of one source partition add up to; nothing is forgotten.

    Args:
        analysed: offsets of the originals that were counted as analysed.
        copy_ids: digests of the post ids of each day (its first second).
    """

    analysed: set[int] = field(default_factory=set)
    totals: Counter[str] = field(default_factory=Counter)
    copy_ids: dict[int, set[int]] = field(default_factory=lambda: defaultdict(set))
    posts: dict[Bucket, Posts] = field(default_factory=lambda: defaultdict(Posts))
    mentions: dict[Bucket, Cells] = field(default_factory=lambda: defaultdict(dict))
    forms: dict[Bucket, Forms] = field(default_factory=lambda: defaultdict(Forms))

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

    def _count_post(self, added: Increments, cell: Cell) -> None:
        """Count an analysed post; the same as `count_post` in `apply.lua`."""
        totals = self.totals
        totals["analysed"] += 1
        totals["abstained"] += added.measures.abstained
        totals["mentions"] += len(added.mentions)
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
        if added.copy_key is not None:
            self._count_copy(added.copy_key, added.buckets)

    def _count_copy(self, key: CopyKey, buckets: Iterable[Bucket]) -> None:
        """Remember a post id, or count the post as a copy."""
        if key.digest not in self.copy_ids[key.day_s]:
            self.copy_ids[key.day_s].add(key.digest)
            return
        self.totals["copies"] += 1
        self._count_in((bucket for bucket in buckets if bucket.level == "day"), "copies")

    def _count_in(self, buckets: Iterable[Bucket], name: str) -> None:
        """Count one in each bucket."""
        for bucket in buckets:
            counts = self.posts[bucket].counts
            counts[name] = counts.get(name, 0) + 1


def _add(cells: Cells, cell: Cell, measures: Measures) -> None:
    """Add measures to a cell."""
    cells[cell] = cells.get(cell, NOTHING).plus(measures)
