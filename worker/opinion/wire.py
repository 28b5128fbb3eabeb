"""A batch of outcomes as the one JSON argument of `apply.lua`.

What repeats in a batch (cells, forms, buckets) is sent once and referred to by its number, from 1 as Lua counts.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Sequence
from typing import Any, Generic, TypeVar

from worker.events import encode
from worker.opinion import keys
from worker.opinion.cells import Bucket, Cell, CopyKey, Measures, Outcome, Retention
from worker.opinion.increments import Increments, increments

T = TypeVar("T", bound=Hashable)


class _Numbered(Generic[T]):
    """Distinct values in order of appearance, numbered from 1."""

    def __init__(self) -> None:
        self.numbers: dict[T, int] = {}

    def number(self, value: T) -> int:
        """The number of a value; a new value gets the next."""
        return self.numbers.setdefault(value, len(self.numbers) + 1)


class BatchWriter:
    """Collects the outcomes of one batch.

    Args:
        retention: what is kept how long.
        now_ms: the present, Unix milliseconds.
    """

    def __init__(self, retention: Retention, now_ms: int) -> None:
        self._retention = retention
        self._now_ms = now_ms
        self._cells: _Numbered[Cell] = _Numbered()
        self._forms: _Numbered[str] = _Numbered()
        self._buckets: _Numbered[Bucket] = _Numbered()

    def write(self, outcomes: Sequence[Outcome], header: dict[str, int | str]) -> bytes:
        """The argument.

        Args:
            outcomes: all of one source partition, in the order in which they were read.
            header: `position_field`, `expected` (-1: none), `next`, `gap`, `forms_limit`.
        """
        rows = [self._row(outcome) for outcome in outcomes]
        batch = {
            **header,
            "now_ms": self._now_ms,
            "records_s": self._retention.records_s,
            "cells": [keys.cell_name(cell) for cell in self._cells.numbers],
            "forms": list(self._forms.numbers),
            "buckets": [
                (keys.bucket_suffix(bucket), self._retention.expires_at_s(bucket)) for bucket in self._buckets.numbers
            ],
            "outcomes": rows,
        }
        return encode(batch)

    def _row(self, outcome: Outcome) -> dict[str, Any]:
        """One outcome and all it adds."""
        added = increments(outcome, self._retention, self._now_ms)
        row: dict[str, Any] = {
            "offset": outcome.position.offset,
            "origin": -1 if outcome.origin_offset is None else outcome.origin_offset,
            "kind": outcome.kind,
            "reason": outcome.reason,
            "at_ms": added.at_ms,
            "buckets": self._numbers(added.buckets),
            "too_late": added.too_late,
            "late_buckets": self._numbers(added.late_buckets),
        }
        if added.cell is not None:
            row["cell"] = self._cells.number(added.cell)
            row["form_cell"] = self._cells.number(added.cell.of_form)
            row["measures"] = added.measures
            row["mentions"] = self._mentions(added)
            row["mention_buckets"] = self._numbers(added.mention_buckets)
            row["copy"] = self._copy(added.copy_key, added.buckets)
        return row

    def _numbers(self, buckets: Iterable[Bucket]) -> list[int]:
        return [self._buckets.number(bucket) for bucket in buckets]

    def _mentions(self, added: Increments) -> list[int | Measures]:
        """Flat pairs: the form (0: none), the measures (0: those of the post)."""
        pairs: list[int | Measures] = []
        for mention in added.mentions:
            pairs.append(self._forms.number(mention.form) if mention.form else 0)
            pairs.append(0 if mention.measures is added.measures else mention.measures)
        return pairs

    def _copy(self, key: CopyKey | None, buckets: Iterable[Bucket]) -> list[int | str]:
        """Day, subset, digest as text (a Lua number holds 53 bits), and the day's bucket or 0."""
        if key is None:
            return []
        days = [self._buckets.number(bucket) for bucket in buckets if bucket.level == "day"]
        return [key.day_s, key.digest % keys.COPY_SUBSETS, str(key.digest), days[0] if days else 0]
