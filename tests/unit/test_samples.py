"""The samples are what `samples/README.md` says: real, permitted, credited, and clean of handles and addresses."""

import importlib.util
import re
from collections import Counter
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path
from types import ModuleType

import msgspec
import pytest

from worker.errors import BadRecord
from worker.events import Post, decode_post
from worker.text.language import SERVED, Identifier, canonical

SAMPLES = Path(__file__).parents[2] / "samples"
LICENCES = {"CC-BY-4.0", "CC-BY-2.0-FR", "CC-BY-SA-4.0", "CC0-1.0", "MIT"}
GENRES = {"tweet", "social", "review", "headline", "filing", "news", "everyday", "guide", "health"}
FOURTEEN = set("en de fr es pt it ru zh ja ko ar hi tr id".split())  # noqa: SIM905


def posts_of(name: str) -> list[Post]:
    return [msgspec.json.decode(line, type=Post) for line in (SAMPLES / name).read_bytes().splitlines()]


@pytest.fixture(scope="module")
def social() -> list[Post]:
    return posts_of("posts.social.jsonl")


@pytest.fixture(scope="module")
def financial() -> list[Post]:
    return posts_of("posts.financial.jsonl")


@pytest.fixture(scope="module")
def posts(social: list[Post], financial: list[Post]) -> list[Post]:
    return social + financial


@pytest.fixture(scope="module")
def readme() -> str:
    return (SAMPLES / "README.md").read_text(encoding="utf-8")


def poison() -> ModuleType:
    spec = importlib.util.spec_from_file_location("poison", SAMPLES / "poison.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_enough_posts_in_enough_languages(posts: list[Post], social: list[Post], financial: list[Post]) -> None:
    """At least 2,200 posts; every language has at least 60, the fourteen of the demo at least 100."""
    counts = Counter(post.metadata["lang"] for post in posts)
    assert len(posts) >= 2_200
    assert counts.keys() <= SERVED
    assert min(counts.values()) >= 60
    assert min(counts[lang] for lang in FOURTEEN) >= 100
    assert min(len(social), len(financial)) >= 500
    assert sum(path.stat().st_size for path in SAMPLES.iterdir() if path.is_file()) < 1_200_000


def test_every_text_is_permitted_and_named_for_what_it_is(posts: list[Post]) -> None:
    """Only licences that allow commercial use; the genre says whether a text is social, financial or neither."""
    assert {post.metadata["licence"] for post in posts} == LICENCES
    assert {post.metadata["genre"] for post in posts} == GENRES
    assert all(post.metadata["dataset"] == post.source for post in posts)


def test_every_source_is_credited_with_its_counts(social: list[Post], financial: list[Post], readme: str) -> None:
    """The table names each source with a commit, and how many posts of each language come from it."""
    rows = {row.split("`")[1]: row for row in readme.splitlines() if re.match(r"\| `\w+` \| .* @ [0-9a-f]{12}", row)}
    assert rows.keys() == {post.source for post in social + financial}
    for topic, found in (("social", social), ("financial", financial)):
        counts = Counter((post.source, post.metadata["lang"]) for post in found)
        for (source, lang), count in counts.items():
            listed = rows[source].split(f"{topic}: ")[1].split(";")[0]
            assert re.search(rf"(?<![\w-]){lang} {count}(?!\d)", listed), (topic, source, lang, count)


def test_nobody_is_named_by_handle_address_or_number(posts: list[Post]) -> None:
    """Mentions and links are masked; addresses and telephone numbers are left out."""
    for post in posts:
        assert not re.search(r"(?<![\w.])@\s?(?!user)\w", post.text), post.id
        assert set(re.findall(r"https?://[\w./-]+", post.text)) <= {"https://example.com"}, post.id
        assert not re.search(r"[\w.+-]+@[\w-]+\.\w+|(?:\d[ .()-]?){8,}", post.text), post.id
        assert re.fullmatch(r"reader_\d{3}", str(post.author))


def test_times_spread_over_three_hours_with_late_posts(social: list[Post], financial: list[Post]) -> None:
    """Event times grow with the stream but for some, as they do in life."""
    for found in (social, financial):
        times = [post.published_at.astimezone(UTC) for post in found]
        assert datetime(2026, 11, 20, 9, tzinfo=UTC) <= min(times)
        assert max(times) <= datetime(2026, 11, 20, 12, tzinfo=UTC)
        backwards = sum(later < earlier for earlier, later in pairwise(times))
        assert 0.05 < backwards / len(times) < 0.9
        assert len({post.published_at.utcoffset() for post in found}) > 3


def test_ids_are_unique_and_texts_too(posts: list[Post]) -> None:
    """A text stands for itself once: copies are made by the tests that want them."""
    assert len({post.id for post in posts}) == len(posts)
    assert len({post.text for post in posts}) == len(posts)


def test_hints_are_as_publishers_give_them(posts: list[Post]) -> None:
    """Half of the posts have a hint, a few a wrong one, and every hint can be read."""
    hinted = [post for post in posts if post.language]
    wrong = [post for post in hinted if canonical(str(post.language)) != post.metadata["lang"]]
    assert 0.4 < len(hinted) / len(posts) < 0.6
    assert 0.005 < len(wrong) / len(posts) < 0.04
    assert all(canonical(str(post.language)) for post in hinted)


def test_languages_are_identified(posts: list[Post]) -> None:
    """The identified language is the data set's in at least 99 of 100 posts, wrong hints or not."""
    identifier = Identifier()
    right = sum(identifier.identify(post.text, post.language).tag == post.metadata["lang"] for post in posts)
    assert right / len(posts) >= 0.99


def test_poison_becomes_what_is_said() -> None:
    """Each line of the file is a case of the script, and the decoder does with it what the script says."""
    cases = poison().CASES
    lines = (SAMPLES / "poison.jsonl").read_bytes().splitlines()
    assert lines == [value for _, value in cases.values()]
    for case, (outcome, value) in cases.items():
        if outcome == "dead letter":
            with pytest.raises(BadRecord):
                decode_post(value)
        elif outcome == "event":
            assert decode_post(value).id == f"poison-{case}"
        else:
            assert value == b"null"


def test_the_table_of_poison_is_complete(readme: str) -> None:
    """`README.md` says of each line what becomes of it."""
    rows = re.findall(r"^\| (\d+) \| .* \| (dead letter|event|tombstone)", readme, re.MULTILINE)
    assert [outcome for _, outcome in rows] == [outcome for outcome, _ in poison().CASES.values()]
    assert [int(line) for line, _ in rows] == list(range(1, len(rows) + 1))
