"""A batch of outcomes as the one JSON argument of `apply.lua`.

What repeats in a batch (cells, forms, buckets) is sent once and referred to by its number, from 1 as Lua counts.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Sequence
from typing import Any, Generic, TypeVar

from worker.events import encode
from worker.opinion import keys
from worker.opinion.authors import AuthorHash
from worker.opinion.cells import Bucket, Cell, Measures, Outcome, Retention
from worker.opinion.increments import Increments

T = TypeVar("T", bound=Hashable)
Counted = tuple[Outcome, Increments]
"""An outcome, and what it adds if it is its record's first."""


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
        author_hash: how authors are named.
        now_ms: the present, Unix milliseconds.
    """

    def __init__(self, retention: Retention, author_hash: AuthorHash, now_ms: int) -> None:
        self._retention = retention
        self._author_hash = author_hash
        self._now_ms = now_ms
        self._cells: _Numbered[Cell] = _Numbered()
        self._forms: _Numbered[str] = _Numbered()
        self._authors: _Numbered[str] = _Numbered()
        self._buckets: _Numbered[Bucket] = _Numbered()

    def write(self, counted: Sequence[Counted], header: dict[str, int | str]) -> bytes:
        """The argument.

        Args:
            counted: all of one source partition, in the order in which they were read.
            header: `position_field`, `expected` (-1: none), `next`, `forms_limit`, `authors_limit` of hours,
                `fine_authors_limit` of what is shorter.
        """
        rows = [self._row(outcome, added) for outcome, added in counted]
        batch = {
            **header,
            "now_ms": self._now_ms,
            "records_s": self._retention.records_s,
            "cells": [keys.cell_name(cell) for cell in self._cells.numbers],
            "forms": list(self._forms.numbers),
            "authors": [self._author_hash(author) for author in self._authors.numbers],
            "buckets": [self._bucket(bucket) for bucket in self._buckets.numbers],
            "outcomes": rows,
        }
        return encode(batch)

    def _row(self, outcome: Outcome, added: Increments) -> dict[str, Any]:
        """One outcome and all it adds."""
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
            row["copy"] = int(added.cell.copy)
            row["author"] = self._authors.number(added.author) if added.author else 0
            row["details"] = self._numbers(added.details)
            row["priority"] = added.priority
        return row

    def _bucket(self, bucket: Bucket) -> tuple[str, int, int]:
        """Suffix of its keys, when they expire, and when those of its authors and samples do."""
        retention = self._retention
        return keys.bucket_suffix(bucket), retention.expires_at_s(bucket), retention.details_expire_at_s(bucket)

    def _numbers(self, buckets: Iterable[Bucket]) -> list[int]:
        return [self._buckets.number(bucket) for bucket in buckets]

    def _mentions(self, added: Increments) -> list[int | Measures]:
        """Flat pairs: the form (0: none), the measures (0: those of the post)."""
        pairs: list[int | Measures] = []
        for mention in added.mentions:
            pairs.append(self._forms.number(mention.form) if mention.form else 0)
            pairs.append(0 if mention.measures is added.measures else mention.measures)
        return pairs
