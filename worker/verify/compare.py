"""Redis beside what the outcomes imply, shard by shard: pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from worker.opinion import keys
from worker.opinion.cells import Bucket, Measures
from worker.opinion.reader import Cells, Posts
from worker.verify.implied import Implied
from worker.verify.report import Finding

NOT_IMPLIED = frozenset({"applied_ms"})


@dataclass(frozen=True, slots=True)
class Snapshot:
    """One shard as the store had it at one moment."""

    positions: Mapping[tuple[str, int], int] = field(default_factory=dict)
    totals: Mapping[str, int] = field(default_factory=dict)
    posts: Mapping[Bucket, Posts] = field(default_factory=dict)
    mentions: Mapping[Bucket, Cells] = field(default_factory=dict)


@dataclass(slots=True)
class Comparison:
    """Compares one shard.

    Args:
        since_s: only buckets that begin later, Unix seconds, and no totals: older outcomes are gone from the logs.
            None compares everything.
        compared: how many values were, so far.
    """

    shard: str
    implied: Implied
    stored: Snapshot
    since_s: float | None = None
    compared: int = 0

    def findings(self) -> Iterator[Finding]:
        """What differs; `compared` is right when all were taken."""
        counts, stored = self.implied.counts, self.stored
        if self.since_s is None:
            yield from self._values(None, f"{keys.prefix(self.shard)}:totals", counts.totals, stored.totals)
        for bucket in self._buckets(counts.posts, stored.posts):
            key = f"{keys.prefix(self.shard)}:posts:{keys.bucket_suffix(bucket)}"
            expected, found = counts.posts.get(bucket, Posts()), stored.posts.get(bucket, Posts())
            yield from self._values(bucket, key, expected.counts, found.counts)
            yield from self._cells(key, expected.cells, found.cells)
        for bucket in self._buckets(counts.mentions, stored.mentions):
            key = f"{keys.prefix(self.shard)}:mentions:{keys.bucket_suffix(bucket)}"
            yield from self._cells(key, counts.mentions.get(bucket, {}), stored.mentions.get(bucket, {}))

    def _buckets(self, expected: Mapping[Bucket, object], found: Mapping[Bucket, object]) -> list[Bucket]:
        """Every bucket that can be compared, also one that only one side has."""
        return [
            bucket
            for bucket in sorted(expected.keys() | found.keys())
            if self.implied.kept(bucket)
            and bucket not in self.implied.unsure
            and (self.since_s is None or bucket.start_s > self.since_s)
        ]

    def _values(
        self, bucket: Bucket | None, key: str, expected: Mapping[str, int], found: Mapping[str, int]
    ) -> Iterator[Finding]:
        for name in sorted((expected.keys() | found.keys()) - NOT_IMPLIED):
            want, have = expected.get(name, 0), found.get(name, 0)
            self.compared += 1
            if not self.implied.allows((bucket, name), want, have):
                yield Finding("counter", f"{key} {name}", self._wanted(bucket, name, want), str(have))

    def _wanted(self, bucket: Bucket | None, name: str, want: int) -> str:
        low = want - self.implied.less[bucket, name]
        return str(want) if low == want else f"{low} to {want}"

    def _cells(self, key: str, expected: Cells, found: Cells) -> Iterator[Finding]:
        for cell in sorted(expected.keys() | found.keys()):
            want, have = expected.get(cell), found.get(cell)
            self.compared += 1
            if want != have:
                yield Finding("counter", f"{key} {' '.join(map(str, cell))}", _shown(want), _shown(have))


def _shown(measures: Measures | None) -> str:
    return "nothing" if measures is None else " ".join(map(str, measures))
