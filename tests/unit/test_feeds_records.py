"""Readers of post files: every row becomes a post or a bad row with its line number."""

from __future__ import annotations

import csv
import io
import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.errors import ConfigInvalid
from worker.events import decode_post
from worker.feeds.records import LINE_LIMIT_BYTES, BadRow, PostRow, Row, open_feed

POST: dict[str, Any] = {"id": "1", "source": "x", "published_at": "2025-01-02T03:04:05Z", "text": "hello"}

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=40)
names = st.text(st.characters(codec="ascii", categories=["Ll"]), min_size=3, max_size=8).filter(
    lambda name: name not in ("url", "author", "language", "metadata", "source", "text")
)
posts = st.builds(
    lambda id_, text, author: POST | {"id": id_, "text": text} | ({"author": author} if author else {}),
    texts.filter(bool),
    texts,
    texts,
)


def read(path: Path, check: Literal["posts", "raw"] = "posts") -> list[Row]:
    """All rows of a file."""
    with open_feed(str(path), check=check) as feed:
        return list(feed.rows)


@given(st.lists(st.one_of(posts.map(json.dumps), texts.map(lambda text: text.replace("\n", " ").replace("\r", " ")))))
def test_each_json_line_becomes_one_row_with_its_number(
    tmp_path_factory: pytest.TempPathFactory, lines: list[str]
) -> None:
    """Every line that is not blank is a post or a bad row, in order and numbered; what was sent is the line itself."""
    path = tmp_path_factory.mktemp("feed") / "posts.jsonl"
    path.write_bytes("\n".join(lines).encode())
    rows = read(path)
    assert [row.line for row in rows] == [
        number for number, line in enumerate(lines, start=1) if line.encode().removeprefix(b"\xef\xbb\xbf").strip()
    ]
    for row in rows:
        if isinstance(row, PostRow):
            assert row.value is not None
            assert row.value.decode() == lines[row.line - 1].removeprefix("\ufeff")
            assert row.key == decode_post(row.value).id.encode()


@given(st.lists(posts), st.dictionaries(names, texts.filter(bool), max_size=3))
def test_a_csv_written_by_the_standard_library_reads_back(
    tmp_path_factory: pytest.TempPathFactory, rows: list[dict[str, Any]], extra: dict[str, str]
) -> None:
    """Columns named as fields come back as the post, whatever quoting they need; other columns as metadata."""
    path = tmp_path_factory.mktemp("feed") / "posts.csv"
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, [*POST, "author", *extra])
        writer.writeheader()
        writer.writerows([row | extra for row in rows])
    values = [row.value for row in read(path) if isinstance(row, PostRow)]
    found = [decode_post(value) for value in values if value is not None]
    assert [(post.id, post.text, post.author or "") for post in found] == [
        (row["id"], row["text"], row.get("author", "")) for row in rows
    ]
    assert all(post.metadata == extra for post in found)


def test_a_bad_csv_row_does_not_take_the_next_one_with_it(tmp_path: Path) -> None:
    """Missing cells, a stray quote, a bad date, bad UTF-8: each is a bad row with its line, and reading goes on."""
    path = tmp_path / "posts.csv"
    path.write_bytes(
        b"\xef\xbb\xbfid,source,published_at,text\n"
        b'1,x,2025-01-02T03:04:05Z,"two\nlines"\n'
        b"2,x\n"
        b'3,x,2025-01-02T03:04:05Z,"quo"te\n'
        b"4,x,yesterday,hello\n"
        b"5,x,2025-01-02T03:04:05Z,\xff\xfe\n"
        b"\n"
        b"6,x,2025-01-02T03:04:05Z,\n"
    )
    rows = read(path)
    assert [(row.line, row.reason if isinstance(row, BadRow) else "") for row in rows] == [
        (2, ""),
        (4, "bad_csv"),
        (5, "bad_csv"),
        (6, "invalid_field"),
        (7, "bad_utf8"),
        (9, ""),
    ]


def test_a_csv_without_the_needed_columns_is_refused(tmp_path: Path) -> None:
    """The header's missing columns are named at once, not once for each row."""
    path = tmp_path / "posts.csv"
    path.write_text("id,text\n1,hello\n")
    with pytest.raises(ConfigInvalid, match="published_at, source"):
        read(path)


def test_parquet_reads_types_and_missing_values(tmp_path: Path) -> None:
    """Timestamps become RFC 3339, nulls and NaN vanish, other columns become metadata; a naive time is a bad row."""
    pyarrow = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    when = datetime(2025, 1, 2, 3, 4, 5, tzinfo=UTC)
    table = pyarrow.table(
        {
            "id": ["1", "2"],
            "source": ["x", None],
            "published_at": pyarrow.array([when, when], pyarrow.timestamp("us", tz="UTC")),
            "text": ["hello", "there"],
            "likes": [float("nan"), 2.0],
            "tags": [["a"], None],
        }
    )
    parquet.write_table(table, tmp_path / "posts.parquet")
    first, second = read(tmp_path / "posts.parquet")
    assert isinstance(first, PostRow)
    assert first.value is not None
    post = decode_post(first.value)
    assert (post.published_at, post.metadata) == (when, {"tags": ["a"]})
    assert second == BadRow(2, "missing_field", "Object missing required field `source`")
    naive = table.set_column(2, "published_at", pyarrow.array([when, when], pyarrow.timestamp("us")))
    parquet.write_table(naive, tmp_path / "naive.parquet")
    assert [row.reason for row in read(tmp_path / "naive.parquet") if isinstance(row, BadRow)] == ["invalid_field"] * 2


def test_raw_lines_are_sent_as_they_are(tmp_path: Path) -> None:
    """`raw` sends what is no post as well, without a key; a line `null` is a tombstone, which needs one."""
    path = tmp_path / "poison.jsonl"
    lines = [b"not json", b"null", json.dumps(POST).encode(), b"\xff"]
    path.write_bytes(b"\n".join(lines))
    rows = read(path, "raw")
    assert [(row.key, row.value) for row in rows if isinstance(row, PostRow)] == [
        (None, b"not json"),
        (b"2", None),
        (b"1", lines[2]),
        (None, b"\xff"),
    ]


def test_a_line_too_long_for_any_broker_is_not_read_into_memory(tmp_path: Path) -> None:
    """A line above the limit is a bad row, and the next line is read as usual."""
    path = tmp_path / "posts.jsonl"
    path.write_bytes(b"x" * (2 * LINE_LIMIT_BYTES + 100) + b"\n" + json.dumps(POST).encode() + b"\n")
    first, second = read(path)
    assert isinstance(first, BadRow)
    assert (first.line, first.reason) == (1, "line_too_long")
    assert isinstance(second, PostRow)
    assert second.line == 2


def test_standard_input_is_json_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    """`-` reads JSON lines from standard input, whose size is not known."""
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(json.dumps(POST).encode())))
    with open_feed("-") as feed:
        assert feed.size_bytes is None
        assert [row.line for row in feed.rows] == [1]


def test_progress_reaches_the_size_of_the_file(tmp_path: Path) -> None:
    """At the end of a file all of its bytes count as read, whatever its format."""
    path = tmp_path / "posts.jsonl"
    path.write_text((json.dumps(POST) + "\n") * 50)
    with open_feed(str(path)) as feed:
        list(feed.rows)
        assert feed.bytes_read() == feed.size_bytes


@pytest.mark.parametrize("name", ["posts.txt", "posts", "missing.jsonl", "."])
def test_a_file_that_cannot_be_read_is_named(tmp_path: Path, name: str) -> None:
    """An unknown format, a missing file and a directory are one clear error that names the path."""
    with pytest.raises(ConfigInvalid, match=str(tmp_path)), open_feed(f"{tmp_path}/{name}"):
        pass
