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
from worker.local.replay import PLANTED, PLANTED_S, Timed, plan, plant
from worker.local.samples import age_of, find_samples
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
    assert [(sample.topic, sample.check) for sample in found] == [
        ("posts.social", "posts"),
        ("posts.social", "raw"),
        ("posts.financial", "posts"),
    ]


def test_a_directory_without_posts_is_named(tmp_path: Path) -> None:
    """Before anything is started."""
    with pytest.raises(ConfigInvalid, match=str(tmp_path)):
        find_samples(tmp_path)


@given(st.lists(st.datetimes(datetime(2000, 1, 1), datetime(2029, 1, 1), timezones=st.just(UTC)), min_size=1))
def test_the_newest_post_is_moved_to_the_present(
    tmp_path_factory: pytest.TempPathFactory, dates: list[datetime]
) -> None:
    """To the second, in the order of their times; distances between posts, and everything else in them, stay."""
    directory = tmp_path_factory.mktemp("samples")
    (directory / "posts.social.jsonl").write_text("\n".join(line(date.isoformat()) for date in dates))
    samples = find_samples(directory)
    age = age_of(samples, NOW)
    found = [decode_post(row.value or b"") for row in plan(samples, age).rows]
    assert [post.published_at - date for post, date in zip(found, sorted(dates), strict=True)] == [age] * len(dates)
    assert timedelta(0) <= NOW - max(post.published_at for post in found) < timedelta(seconds=1)
    assert all((post.text, post.metadata) == ("ü", {"a": 1}) for post in found)


def test_what_is_no_post_is_sent_as_it_is(tmp_path: Path) -> None:
    """Poison stands in the midst of the posts, in the topic that it was meant for."""
    (tmp_path / "posts.social.jsonl").write_text(f"{line('2020-01-01T00:00:00Z')}\n{line('2020-01-02T00:00:00Z')}\n")
    (tmp_path / "poison.jsonl").write_bytes(b"\xff\nnull\n")
    rows = plan(find_samples(tmp_path), timedelta(0)).rows
    assert [row.value for row in rows[1:3]] == [b"\xff", None]
    assert {row.topic for row in rows} == {"posts.social"}


def test_a_row_that_is_no_post_is_named(tmp_path: Path) -> None:
    """By file and line, before anything is sent."""
    (tmp_path / "posts.social.jsonl").write_text(f"{line('2020-01-01T00:00:00Z')}\nnot json\n")
    with pytest.raises(ConfigInvalid, match=r"posts.social.jsonl:2: not_json"):
        plan(find_samples(tmp_path), timedelta(0))


@given(st.lists(st.tuples(st.integers(0, 10_000), st.sampled_from(["a", "b"]), st.booleans()), max_size=50))
def test_planting_moves_posts_and_no_times(made: list[tuple[int, str, bool]]) -> None:
    """Every topic keeps its times; nothing is planted without posts to plant."""
    posts = [
        Timed(topic, {"id": str(number)}, NOW + timedelta(seconds=at_s)) for number, (at_s, topic, _) in enumerate(made)
    ]
    before = sorted((each.topic, each.at) for each in posts)
    ids = {str(number) for number, (_, _, chosen) in enumerate(made) if chosen}
    since = plant(posts, ids)
    assert (since is None) == (not ids)
    assert sorted((each.topic, each.at) for each in posts) == before
    if since is not None:
        assert since == max(each.at for each in posts) - timedelta(seconds=PLANTED_S)


def test_the_shipped_plant_is_late() -> None:
    """Every planted post stands in the last 40 minutes, among others."""
    samples = find_samples(REPOSITORY / "samples")
    replayed = plan(samples, timedelta(0))
    ids = set((REPOSITORY / "samples" / PLANTED).read_text().split())
    assert replayed.planted_at is not None
    times = {
        post.id: post.published_at
        for row in replayed.rows
        if row.key is not None and row.value is not None and row.line == 0
        for post in [decode_post(row.value)]
    }
    assert ids <= times.keys()
    assert all(times[post_id] >= replayed.planted_at for post_id in ids)
    late = [post_id for post_id, at in times.items() if at >= replayed.planted_at]
    assert 0.2 < len(ids) / len(late) < 0.6


def test_the_shipped_samples_are_found() -> None:
    """Both input topics of the default settings have posts."""
    topics = {sample.topic for sample in find_samples(REPOSITORY / "samples")}
    assert topics == set(Settings.model_fields["input_topics"].default)
