"""Rows of CSV and Parquet files as the JSON of posts: columns named as the fields of `Post`, the others as metadata."""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from typing import Any, BinaryIO
from uuid import UUID

from worker.errors import ConfigInvalid
from worker.events import Post

FIELDS = frozenset(Post.__struct_fields__)
REQUIRED = frozenset({"id", "source", "published_at", "text"})
PARQUET_BATCH_ROWS = 1024


@dataclass(frozen=True, slots=True)
class BadCells:
    """A row that is not one cell for each column."""

    reason: str
    detail: str


def csv_rows(stream: BinaryIO, cell_limit_bytes: int) -> Iterator[tuple[int, dict[str, object] | BadCells]]:
    """Line number of the first line and the cells of each record below the header.

    RFC 4180: comma, double quotes, line breaks within quotes; UTF-8 with or without a byte order mark. Bytes that are
    not UTF-8 arrive as lone surrogates, which no JSON encoder takes, so that only their row is bad.

    Raises:
        ConfigInvalid: the header lacks a required column or names one twice.
    """
    csv.field_size_limit(cell_limit_bytes)
    text = io.TextIOWrapper(stream, encoding="utf-8-sig", errors="surrogateescape", newline="")
    try:
        reader = csv.reader(text, strict=True)
        header = _header(next(reader, []))
        while True:
            line = reader.line_num + 1
            try:
                cells = next(reader)
            except StopIteration:
                return
            except csv.Error as error:
                yield line, BadCells("bad_csv", str(error))
                continue
            if cells:
                yield line, _named(header, cells)
    finally:
        text.detach()


def _header(cells: list[str]) -> list[str]:
    names = [cell.strip() for cell in cells]
    missing = REQUIRED - set(names)
    if missing:
        raise ConfigInvalid(f"the first line must name the columns; missing: {', '.join(sorted(missing))}")
    if len(set(names)) < len(names):
        raise ConfigInvalid("the first line names a column twice")
    return names


def _named(header: list[str], cells: list[str]) -> dict[str, object] | BadCells:
    if len(cells) != len(header):
        return BadCells("bad_csv", f"{len(cells)} cells for {len(header)} columns")
    return {name: cell for name, cell in zip(header, cells, strict=True) if cell or name in REQUIRED}


@contextmanager
def parquet_rows(path: str) -> Iterator[tuple[int, Iterator[dict[str, object]]]]:
    """The number of rows, and the rows, read batch by batch; nulls and NaN are left out.

    Raises:
        ConfigInvalid: not a Parquet file, a required column is missing, or the extra `parquet` is not installed.
    """
    try:
        import pyarrow  # noqa: PLC0415  # an extra
        from pyarrow import parquet  # noqa: PLC0415
    except ImportError:
        raise ConfigInvalid(f"{path}: reading Parquet needs pyarrow: pip install 'polyvox[parquet]'") from None
    try:
        file = parquet.ParquetFile(path)
    except (OSError, pyarrow.ArrowException) as error:
        raise ConfigInvalid(f"{path}: {str(error).splitlines()[0]}") from error
    with file:
        missing = REQUIRED - set(file.schema_arrow.names)
        if missing:
            raise ConfigInvalid(f"{path}: missing columns: {', '.join(sorted(missing))}")
        yield file.metadata.num_rows, _present(file.iter_batches(batch_size=PARQUET_BATCH_ROWS))


def _present(batches: Iterator[Any]) -> Iterator[dict[str, object]]:
    for batch in batches:
        for cells in batch.to_pylist(maps_as_pydicts="lossy"):
            yield {name: cell for name, cell in cells.items() if cell is not None and not _is_nan(cell)}


def _is_nan(cell: object) -> bool:
    """A missing value, as pandas writes it into any column."""
    return isinstance(cell, float) and math.isnan(cell)


def post_json(cells: Mapping[str, object]) -> bytes:
    """The JSON of a post, unchecked.

    Raises:
        TypeError: a cell has a type that JSON cannot hold, such as bytes.
        ValueError: `metadata` is no object, or a number is not finite.
        UnicodeEncodeError: a cell holds a lone surrogate.
    """
    post = {name: cell for name, cell in cells.items() if name in FIELDS - {"metadata"}}
    metadata = {name: cell for name, cell in cells.items() if name not in FIELDS} | _metadata(cells.get("metadata"))
    if metadata:
        post["metadata"] = metadata
    return json.dumps(post, ensure_ascii=False, allow_nan=False, default=_as_text).encode()


def _metadata(cell: object) -> dict[str, object]:
    """The `metadata` column: an object, or the JSON of one."""
    if cell is None:
        return {}
    found = json.loads(cell) if isinstance(cell, str) else cell
    if not isinstance(found, dict):
        raise ValueError("metadata is not an object")
    return found


def _as_text(cell: object) -> str:
    """Types that Parquet has and JSON lacks."""
    if isinstance(cell, date):  # a datetime is one
        return cell.isoformat()
    if isinstance(cell, Decimal | UUID):
        return str(cell)
    raise TypeError(f"a cell of type {type(cell).__name__} has no JSON form")
