"""What the contenders of the bench are given: the posts, the batches of bare Triton, the null model's repository."""

from __future__ import annotations

from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.__main__ import PARTS, arguments
from bench.contenders import own_work
from bench.contenders.batches import batches
from bench.contenders.labels import Labels, by_length
from bench.jobs import Flood, OwnWork, Pump, Setting
from bench.null import null_repository, with_topics
from bench.texts import SPAN, inputs, record
from tests.little_triton import TINY
from worker.analysis.bundle import Bundle
from worker.analysis.prepare import Prepared, Preparer
from worker.errors import ConfigInvalid
from worker.events import decode_post
from worker.stream.records import Routes, TopicPartition
from worker.text.language import Identifier

NOW = datetime(2026, 1, 2, 3, 4, tzinfo=UTC)
LINE = '{"id": "%s", "source": "s", "published_at": "2020-01-01T00:00:00Z", "text": "%s"}\n'


@pytest.fixture
def samples(tmp_path: Path) -> Path:
    (tmp_path / "social.jsonl").write_text("".join(LINE % (f"s{n}", "word " * n) for n in range(20)))
    (tmp_path / "financial.jsonl").write_text("".join(LINE % (f"f{n}", "share " * n) for n in range(5)))
    (tmp_path / "poison.jsonl").write_text("not a post\n")
    return tmp_path


def test_posts_are_the_same_ones_every_time_and_no_copies(samples: Path) -> None:
    """Two calls give the same posts; a second round through the samples has ids of its own."""
    first, second = inputs(samples, 60, NOW), inputs(samples, 60, NOW)
    assert first == second
    assert len({one.post.id for one in first}) == 60
    assert sum(one.source_class == "financial" for one in first[:25]) == 5


def test_posts_are_recent(samples: Path) -> None:
    """Dates lie in the last hour, in order: older ones would miss the minute cells and make less work."""
    dates = [one.post.published_at for one in inputs(samples, 60, NOW)]
    assert dates == sorted(dates)
    assert NOW - SPAN <= dates[0] < dates[-1] <= NOW


def test_records_carry_the_posts(samples: Path) -> None:
    """Key and value are what a publisher would send."""
    one = inputs(samples, 1, NOW)[0]
    topic, key, value = record("posts", one)
    assert (topic, key) == (f"posts.{one.source_class}", one.post.id.encode())
    assert decode_post(value) == one.post


def test_no_samples_is_an_error_for_people(tmp_path: Path) -> None:
    """An empty directory is named."""
    with pytest.raises(ConfigInvalid, match=tmp_path.name):
        inputs(tmp_path, 1)


@pytest.mark.parametrize("size", [1, 4, 16])
def test_contenders_without_kafka_get_every_window_once_with_little_padding(samples: Path, size: int) -> None:
    """All rows of all posts are in the batches, and a batch holds neighbours in length."""
    texts = [(one.post.text, None) for one in inputs(samples, 25, NOW)]
    posts = [post for post in Preparer(TINY, Identifier(), 32).prepare_many(texts) if isinstance(post, Prepared)]
    assert len(posts) == len(texts)
    made = batches(posts, size, TINY.pad_id)
    rows = sorted(number for each in made for number in each.posts)
    assert rows == sorted(number for number, post in enumerate(posts) for _ in post.windows)
    lengths = sorted(sorted(len(posts[number].windows[0].ids) for number in each.posts) for each in made)
    assert all(one[-1] <= other[0] for one, other in pairwise(lengths))
    shapes = [each.tokens.input_ids.shape for each in made]
    assert [shape[0] for shape in shapes] == [len(each.posts) for each in made]
    assert np.prod(shapes, axis=1).sum() >= sum(window.length for post in posts for window in post.windows)


@given(st.lists(st.integers(1, 40), min_size=1), st.integers(1, 16))
def test_a_rival_gets_every_row_once_beside_its_neighbours_in_length(lengths: list[int], size: int) -> None:
    """No row is lost or doubled, no batch is larger than asked for, and padding is what sorting leaves."""
    rows = [[0] * length for length in lengths]
    made = list(by_length(rows, size))
    assert sorted(number for numbers in made for number in numbers) == list(range(len(rows)))
    assert all(len(numbers) <= size for numbers in made)
    assert [lengths[number] for numbers in made for number in numbers] == sorted(lengths)


def test_a_rival_writes_the_post_with_its_labels() -> None:
    """The record holds the post as it came and the likeliest of each label; padding is masked."""
    labels = Labels(TINY.directory)
    values = [b'{"id": "1", "text": "a good day"}', b'{"id": "2", "text": "no"}']
    ids, mask = labels.padded(labels.tokens(values))
    assert ids.shape == mask.shape
    assert mask.sum(1).tolist() == [len(TINY.tokenizer.encode(text).ids) for text in ("a good day", "no")]
    sentiment, topic = np.eye(3)[[2, 0]], np.eye(len(TINY.topics))[[1, 1]]
    first, second = map(msgspec.json.decode, labels.records(values, sentiment, topic))
    assert (first["sentiment"], second["sentiment"]) == ("positive", "negative")
    assert first["post"] == {"id": "1", "text": "a good day"}
    assert second["topic"] == TINY.topics[1].name


def test_the_null_repository_is_a_bundle_that_the_worker_accepts() -> None:
    """Real tokenizer, labels and hashes; the code is the null model's, with as many topics as the bundle has."""
    with null_repository(TINY.directory.parents[1]) as repository:
        bundle = Bundle.load(repository / "analyzer" / "1")
        assert bundle.model == TINY.model
        config = (repository / "analyzer" / "config.pbtxt").read_text()
        assert f'"topic_logits", data_type: TYPE_FP32, dims: [ {len(TINY.topics)} ]' in config
        assert "onnxruntime" not in (repository / "analyzer" / "1" / "model.py").read_text()
    assert not repository.exists()


def test_a_configuration_without_topics_is_refused() -> None:
    """The null model cannot silently keep another number of topics."""
    with pytest.raises(ValueError, match="topic_logits"):
        with_topics('name: "analyzer"', 14)


def test_bare_loops_write_where_polyvox_would() -> None:
    """Every contender spreads its output over the same partitions."""
    pump = Pump("", ["a", "b"], "out", 1, "group")
    routes = Routes({"a": "x", "b": "y"}, {}, "out", "dead", 1)
    for topic, partition in (("a", 0), ("b", 0), ("a", 3), ("b", 3)):
        assert pump.output_partition(topic, partition) == routes.output_partition(TopicPartition(topic, partition))


def test_jobs_reach_their_programs_unchanged() -> None:
    """A contender reads from its command line what the bench wrote there."""
    job = Flood("127.0.0.1:1", "b", "s", 3, [Setting(8, 2)], "r")
    assert msgspec.json.decode(msgspec.json.encode(job), type=Flood) == job


def test_the_command_line_runs_everything_by_default() -> None:
    """Options name what is left out, and nonsense is refused."""
    assert tuple(arguments([]).only) == PARTS
    assert arguments(["--only", "real", "null"]).only == ["real", "null"]
    with pytest.raises(SystemExit):
        arguments(["--posts", "3"])


def test_own_work_makes_an_event_of_every_post(samples: Path) -> None:
    """One moment for each post, in order, with batches that do not divide the posts."""
    job = OwnWork(str(TINY.directory), str(samples), 140, 64, "")
    done_s = own_work.measure(job)
    assert len(done_s) == 140
    assert done_s == sorted(done_s)
