"""What the demo replays."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.errors import ConfigInvalid
from worker.events import decode_post
from worker.feeds.records import BadRow, PostRow
from worker.local.samples import age_of, find_samples, moved
from worker.settings import REPOSITORY, Settings

NOW = datetime(2030, 1, 1, tzinfo=UTC)


def line(published_at: str) -> str:
    """A post, without a line end."""
    return json.dumps({"id": "1", "source": "x", "published_at": published_at, "text": "ü", "metadata": {"a": 1}})


def test_each_file_of_posts_goes_to_the_topic_of_its_name(tmp_path: Path) -> None:
    """Poison goes among the first ones, unchecked; other files are left alone."""
    for name in ("posts.social.jsonl", "posts.financial.jsonl", "poison.jsonl", "README.md"):
        (tmp_path / name).write_text(f"{line('2020-01-01T00:00:00Z')}\n\n")
    found = find_samples(tmp_path)
    assert [(sample.topic, sample.check, sample.count()) for sample in found] == [
        ("posts.social", "posts", 1),
        ("posts.social", "raw", 1),
        ("posts.financial", "posts", 1),
    ]


def test_a_directory_without_posts_is_named(tmp_path: Path) -> None:
    """Before anything is started."""
    with pytest.raises(ConfigInvalid, match=str(tmp_path)):
        find_samples(tmp_path)


@given(st.lists(st.datetimes(datetime(2000, 1, 1), datetime(2029, 1, 1), timezones=st.just(UTC)), min_size=1))
def test_the_newest_post_is_moved_to_the_present(
    tmp_path_factory: pytest.TempPathFactory, dates: list[datetime]
) -> None:
    """To the second; distances between posts, and everything else in them, stay."""
    directory = tmp_path_factory.mktemp("samples")
    lines = [line(date.isoformat()) for date in dates]
    (directory / "posts.social.jsonl").write_text("\n".join(lines))
    age = age_of(find_samples(directory), NOW)
    rows = [PostRow(number, b"1", each.encode()) for number, each in enumerate(lines)]
    found = [decode_post(row.value) for row in moved(iter(rows), age) if isinstance(row, PostRow) and row.value]
    assert [post.published_at - date for post, date in zip(found, dates, strict=True)] == [age] * len(dates)
    assert timedelta(0) <= NOW - max(post.published_at for post in found) < timedelta(seconds=1)
    assert all((post.text, post.metadata) == ("ü", {"a": 1}) for post in found)


def test_what_is_no_post_is_not_touched() -> None:
    """Bad rows and tombstones pass."""
    rows = [BadRow(1, "x", "y"), PostRow(2, b"k", None)]
    assert list(moved(iter(rows), timedelta(days=1))) == rows


def test_the_shipped_samples_are_found() -> None:
    """Both input topics of the default settings have posts."""
    topics = {sample.topic for sample in find_samples(REPOSITORY / "samples")}
    assert topics == set(Settings.model_fields["input_topics"].default)
