"""What an alert takes from posts: words that several share and ids, of its own key and time alone."""

from __future__ import annotations

from datetime import UTC, datetime

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.opinion_outcomes import NOW_S, Words, post
from worker.alerts.evidence import Question, look_into, terms_of
from worker.events import EnrichedPost
from worker.opinion.cells import OTHER
from worker.opinion.shifts.words import Key, Span

BEFORE, AFTER = Span(NOW_S - 7200, NOW_S - 3600), Span(NOW_S - 3600, NOW_S)
KEY = Key("language_topic", ("de", "medtop:04000000"))


def enriched(number: int, text: str, at_s: float, **words: object) -> EnrichedPost:
    event = post(number, Words(at_s=at_s, **{"language": "de"} | words)).event  # type: ignore[arg-type]
    assert event is not None
    return msgspec.structs.replace(event, post=msgspec.structs.replace(event.post, id=f"p{number}", text=text))


def question(key: Key = KEY) -> Question:
    return Question(key, "down", BEFORE, AFTER)


def test_words_are_counted_once_a_post_on_their_side_of_the_shift() -> None:
    """Posts of other keys and times are left alone."""
    found = look_into(
        [
            enriched(0, "Streik Streik!", AFTER.start_s),
            enriched(1, "Der Streik", AFTER.end_s - 1),
            enriched(2, "Der Zug", BEFORE.start_s),
            enriched(3, "Streik", BEFORE.start_s - 1),
            enriched(4, "Streik", AFTER.end_s),
            enriched(5, "Streik", AFTER.start_s, language="en"),
            enriched(6, "Streik", AFTER.start_s, topic="medtop:01000000"),
        ],
        question(),
    )
    assert (found.after.posts, found.after.terms) == (2, {"de": {"streik": 2, "der": 1}})
    assert (found.before.posts, found.before.terms) == (1, {"de": {"der": 1, "zug": 1}})


def test_examples_are_the_clearest_posts_after() -> None:
    """Five at most, each id once, in the direction of the shift."""
    labels = ["positive", "negative", "neutral", *["negative"] * 6]
    posts = [enriched(number, "x", AFTER.start_s, label=label) for number, label in enumerate(labels)]
    found = look_into([*posts, *posts], question())
    assert len(found.examples) == len(set(found.examples)) == 5
    assert set(found.examples) <= {f"p{number}" for number, label in enumerate(labels) if label == "negative"}


def test_an_entity_is_found_by_its_id() -> None:
    """Whatever the language and topic of the post."""
    posts = [
        enriched(0, "Acme fällt", AFTER.start_s, entities=["ACME"]),
        enriched(1, "Other falls", AFTER.start_s, language="en", entities=["Other"]),
    ]
    found = look_into(posts, question(Key("entity", ("org:ACME",))))
    assert dict(found.after.entities) == {"org:ACME": 1}


@pytest.mark.parametrize(
    ("text", "terms"),
    [
        ("Größe, naïve IT's 2024 x", ["größe", "naïve", "it's"]),
        ("@somebody see https://example.com/secret?token=1 now", ["see", "now"]),
        ("株価が下落", ["株価", "価が", "が下", "下落"]),
        ("रेल हड़ताल", ["रेल", "हड़ताल"]),
        ("", []),
        ("x" * 100, []),
    ],
)
def test_terms_are_words(text: str, terms: list[str]) -> None:
    """Lower case, without numbers, links and accounts; pairs of characters where no spaces are written."""
    assert list(terms_of(text)) == terms


@given(st.text())
def test_terms_of_any_text(text: str) -> None:
    """Total, and never longer than a word."""
    assert all(1 < len(term) <= 40 for term in terms_of(text))


def test_times_are_aware() -> None:
    """The samples of this file are."""
    assert enriched(0, "x", AFTER.start_s).event_time == datetime.fromtimestamp(AFTER.start_s, UTC)


def test_a_language_without_a_key_of_its_own_counts_under_other() -> None:
    """As it does in the aggregates."""
    posts = [enriched(0, "word", AFTER.start_s, language="tlh"), enriched(1, "word", AFTER.start_s, language="de")]
    found = look_into(posts, question(Key("language_topic", (OTHER, "medtop:04000000"))))
    assert found.after.posts == 1
