"""Posts from files: JSON lines, CSV, Parquet or standard input, one row at a time, whatever the size of the file.

A row that cannot be read is a `BadRow` with its line number, and reading goes on behind it.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Literal

from worker.errors import BadRecord, ConfigInvalid
from worker.events import decode_post
from worker.feeds import tables

STDIN = "-"
LINE_LIMIT_BYTES = 16 * 1024 * 1024
"""A longer line is a bad row: no broker takes it, and it must not fill the memory."""

Format = Literal["jsonl", "csv", "parquet"]
FORMATS: dict[str, Format] = {
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".json": "jsonl",
    ".csv": "csv",
    ".parquet": "parquet",
}


@dataclass(frozen=True, slots=True)
class PostRow:
    """A row to produce: `line` counts from 1 (a row of Parquet counts as a line); a null `value` is a tombstone.

    It goes to `topic`, if it names one, and otherwise where all rows go.
    """

    line: int
    key: bytes | None
    value: bytes | None
    topic: str | None = None


@dataclass(frozen=True, slots=True)
class BadRow:
    """A row that was not produced; `reason` is a short code, `detail` one line for people without the post's text."""

    line: int
    reason: str
    detail: str


Row = PostRow | BadRow


@dataclass(frozen=True)
class Feed:
    """An open file: its rows, its size in bytes where that is known, and how many bytes were read so far."""

    name: str
    size_bytes: int | None
    rows: Iterator[Row]
    bytes_read: Callable[[], int]


def format_of(path: str) -> Format:
    """The format that a file's name says; standard input is JSON lines.

    Raises:
        ConfigInvalid: the name says none.
    """
    if path == STDIN:
        return "jsonl"
    try:
        return FORMATS[Path(path).suffix.lower()]
    except KeyError:
        raise ConfigInvalid(f"{path}: expected a name that ends in {', '.join(FORMATS)}, or - for JSON lines") from None


def open_feed(path: str, *, check: Literal["posts", "raw"] = "posts") -> AbstractContextManager[Feed]:
    """Open a file, or standard input for `-`.

    Args:
        path: `.jsonl`, `.ndjson`, `.json` (one object a line), `.csv` or `.parquet`. Columns are named as the fields
            of `Post`; other columns go to its `metadata`; empty cells of optional fields are left out.
        check: `posts` yields valid posts and a `BadRow` for anything else; `raw` yields the lines of a JSON lines
            file as they are, where a line `null` is a tombstone.

    Raises:
        ConfigInvalid: the file cannot be opened, or is of no known format, or `raw` is asked for a table.
    """
    kind = format_of(path)
    if check == "raw" and kind != "jsonl":
        raise ConfigInvalid(f"{path}: only JSON lines can be sent unchecked")
    return _parquet_feed(path) if kind == "parquet" else _stream_feed(path, kind, check)


@contextmanager
def _stream_feed(path: str, kind: Format, check: Literal["posts", "raw"]) -> Iterator[Feed]:
    """JSON lines or CSV from a byte stream."""
    with _opened(path) as stream:
        rows = _csv_rows(stream) if kind == "csv" else _json_rows(stream, _CHECKS[check])
        size = None if path == STDIN else Path(path).stat().st_size
        yield Feed(path, size, rows, lambda: 0 if size is None else stream.tell())


@contextmanager
def _parquet_feed(path: str) -> Iterator[Feed]:
    """Parquet, which knows its number of rows: bytes read are the share of rows read."""
    with tables.parquet_rows(path) as (count, rows):
        size, done = Path(path).stat().st_size, 0

        def counted() -> Iterator[Row]:
            nonlocal done
            for done, cells in enumerate(rows, start=1):
                yield _table_row(done, cells)

        yield Feed(path, size, counted(), lambda: size * done // max(1, count))


@contextmanager
def _opened(path: str) -> Iterator[BinaryIO]:
    if path == STDIN:
        yield sys.stdin.buffer
        return
    try:
        stream = Path(path).open("rb")  # noqa: SIM115  # closed below: the error of opening alone is translated
    except OSError as error:
        raise ConfigInvalid(f"{path}: {error.strerror or error}") from error
    with stream:
        yield stream


def _json_rows(stream: BinaryIO, check: Callable[[int, bytes], Row]) -> Iterator[Row]:
    """One row for each line that is not blank."""
    for line, content in _lines(stream):
        if content is None:
            yield BadRow(line, "line_too_long", f"more than {LINE_LIMIT_BYTES} bytes")
        elif content.strip():
            yield check(line, content)


def _lines(stream: BinaryIO) -> Iterator[tuple[int, bytes | None]]:
    """Number and bytes of each line without its end; None in place of one that is too long."""
    line = 0
    while content := stream.readline(LINE_LIMIT_BYTES):
        line += 1
        if line == 1:
            content = content.removeprefix(b"\xef\xbb\xbf")
        if len(content) < LINE_LIMIT_BYTES or content.endswith(b"\n"):
            yield line, content.rstrip(b"\r\n")
            continue
        while content and not content.endswith(b"\n"):
            content = stream.readline(LINE_LIMIT_BYTES)
        yield line, None


def _checked(line: int, value: bytes) -> Row:
    """A valid post, or why it is none."""
    try:
        return PostRow(line, decode_post(value).id.encode(), value)
    except BadRecord as error:
        return BadRow(line, error.reason, error.detail)


def _unchecked(line: int, value: bytes) -> Row:
    """Whatever stands there; the id as key where there is one, so that a copy reaches the same partition."""
    if value.strip() == b"null":
        return PostRow(line, b"%d" % line, None)
    row = _checked(line, value)
    return row if isinstance(row, PostRow) else PostRow(line, None, value)


_CHECKS: dict[str, Callable[[int, bytes], Row]] = {"posts": _checked, "raw": _unchecked}


def _csv_rows(stream: BinaryIO) -> Iterator[Row]:
    """One row for each record below the header; its number is that of its first line."""
    for line, cells in tables.csv_rows(stream, LINE_LIMIT_BYTES):
        yield _table_row(line, cells)


def _table_row(line: int, cells: dict[str, object] | tables.BadCells) -> Row:
    """A post from the named cells of a table."""
    if isinstance(cells, tables.BadCells):
        return BadRow(line, cells.reason, cells.detail)
    try:
        return _checked(line, tables.post_json(cells))
    except UnicodeEncodeError:
        return BadRow(line, "bad_utf8", "a cell is not UTF-8")
    except (TypeError, ValueError) as error:
        return BadRow(line, "invalid_field", str(error))
