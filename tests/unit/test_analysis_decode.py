"""What decoding promises: labels that follow from the logits, and spans that are exactly there in the original text."""

from __future__ import annotations

from itertools import pairwise, product
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from worker.analysis.bundle import TAG_LABELS, Bundle
from worker.analysis.decode import decode, split_rows
from worker.analysis.inference import Logits
from worker.analysis.prepare import Prepared, Preparer
from worker.analysis.spans import decode_spans, trim
from worker.events import Analysis
from worker.text.language import Language

BUNDLE = Bundle.load(Path(__file__).parent.parent / "fixtures" / "tiny_models" / "analyzer" / "1")
TEXTS = st.text(st.one_of(st.sampled_from("aeion RST, .東京서울é\u0301ﬀ㍻@#(\u200b\n"), st.characters(codec="utf-8")))


class English:
    """Finds English in everything."""

    def identify(self, text: str, hint: str | None) -> Language:
        return Language("en", 0.87654321, False)


PREPARER = Preparer(BUNDLE, English(), max_windows=1000)


def logits_of(prepared: Prepared, seed: int, tag_scale: float = 3.0) -> list[Logits]:
    """Arbitrary logits for each window, two tokens wider than it (padding)."""
    random = np.random.default_rng(seed)
    return [
        Logits(
            random.normal(0, 2, (1, 3)).astype(np.float32),
            random.normal(0, 2, (1, len(BUNDLE.topics))).astype(np.float32),
            random.normal(0, tag_scale, (1, window.length + 2, 7)).astype(np.float32),
            random.normal(0, 2, (1, window.length + 2, 3)).astype(np.float32),
        )
        for window in prepared.windows
    ]


def tagged(text: str, **types: str) -> Analysis:
    """Decode `text` with a model that is sure of the tag of each token of the given words, such as London="LOC"."""
    prepared = PREPARER.prepare(text)
    tags = np.zeros(len(prepared.starts), int)
    for word, kind in types.items():
        at = prepared.normalised.text.index(word)
        inside = (prepared.starts >= at) & (prepared.ends <= at + len(word)) & (prepared.starts < prepared.ends)
        tags[inside] = TAG_LABELS.index(f"I-{kind}")
        tags[np.flatnonzero(inside)[0]] = TAG_LABELS.index(f"B-{kind}")
    return decode(prepared, windows_of(prepared, np.eye(7, dtype=np.float32)[tags] * 8), BUNDLE, 0.0)


def answer(
    tags: NDArray[np.float32],
    sentiment: tuple[float, ...] = (0, 0, 0),
    topic: tuple[float, ...] = (0, 0, 0, 0),
    token_sentiment: NDArray[np.float32] | None = None,
) -> Logits:
    """One row of logits; the tags are [1, T, 7]."""
    if token_sentiment is None:
        token_sentiment = np.zeros((1, tags.shape[1], 3), np.float32)
    return Logits(np.array([sentiment], np.float32), np.array([topic], np.float32), tags, token_sentiment)


def windows_of(prepared: Prepared, tags: NDArray[np.float32]) -> list[Logits]:
    """The same tag logits for a token in every window; other logits zero."""
    answers = []
    for window in prepared.windows:
        rows = np.zeros((1, window.length, 7), np.float32)
        rows[0, 1:-1] = tags[window.first : window.first + window.length - 2]
        answers.append(answer(tags=rows))
    return answers


@settings(deadline=None)
@given(TEXTS, st.integers(0, 9999))
def test_spans_are_in_the_original(text: str, seed: int):
    """Whatever the model says: each entity's text stands at its offsets, trimmed, in order, none over another."""
    prepared = PREPARER.prepare(text)
    entities = decode(prepared, logits_of(prepared, seed), BUNDLE, 0.0).entities
    for entity in entities:
        assert entity.text == text[entity.start : entity.end] != ""
        assert trim(text, entity.start, entity.end) == (entity.start, entity.end)
        assert 0 <= entity.confidence <= 1
    assert all(before.end <= after.start for before, after in pairwise(entities))


@settings(deadline=None)
@given(TEXTS, st.integers(0, 9999))
def test_probabilities_are_a_softmax(text: str, seed: int):
    """Probabilities sum to one, the label is the most probable class, and its probability is the confidence."""
    prepared = PREPARER.prepare(text)
    analysis = decode(prepared, logits_of(prepared, seed), BUNDLE, 0.0)
    shares = {label: getattr(analysis.sentiment.probabilities, label) for label in BUNDLE.manifest.sentiment}
    assert sum(shares.values()) == pytest.approx(1, abs=2e-6)
    assert analysis.sentiment.confidence == shares[analysis.sentiment.label] == max(shares.values())
    topics = analysis.topic.probabilities
    assert list(topics) == [topic.id for topic in BUNDLE.topics]
    assert sum(topics.values()) == pytest.approx(1, abs=4e-4)
    assert analysis.topic.confidence == topics[analysis.topic.label] == max(topics.values())
    assert (analysis.model, analysis.language, analysis.language_confidence) == (BUNDLE.model, "en", 0.8765)


def test_label_order_is_the_bundles():
    """The first sentiment logit is negative, and the topic logits are in the bundle's order."""
    prepared = PREPARER.prepare("a")
    tags = np.zeros((1, 3, 7), np.float32)
    logits = answer(tags, sentiment=(2, 0, 0), topic=(0, 0, 0, 9))
    analysis = decode(prepared, [logits], BUNDLE, 0.0)
    assert (analysis.sentiment.label, analysis.sentiment.confidence) == ("negative", 0.786986)
    assert (analysis.topic.label, analysis.topic.name) == ("polyvox:technology", "technology")


def test_abstention():
    """Sentiment under the threshold is marked; an empty text always is, however sure the model."""
    sure = answer(np.zeros((1, 3, 7), np.float32), sentiment=(9, 0, 0))
    text, empty = PREPARER.prepare("a"), PREPARER.prepare(" ")
    assert not decode(text, [sure], BUNDLE, 0.9).sentiment.abstained
    assert decode(text, windows_of(text, np.zeros((2, 7), np.float32)), BUNDLE, 0.9).sentiment.abstained
    analysis = decode(empty, [sure], BUNDLE, 0.0)
    assert (analysis.sentiment.abstained, analysis.flags, analysis.entities) == (True, ["empty_text"], [])


def test_windows_count_by_their_tokens():
    """The sentiment of a long text is the softmax of its windows' mean logits."""
    prepared = PREPARER.prepare("q" * 40)
    assert len(prepared.windows) == 2
    answers = logits_of(prepared, 1)
    mean = (answers[0].sentiment[0].astype(float) + answers[1].sentiment[0]) / 2
    expected = np.exp(mean) / np.exp(mean).sum()
    assert decode(prepared, answers, BUNDLE, 0.0).sentiment.probabilities.negative == pytest.approx(
        expected[0], abs=1e-6
    )


def test_spans_across_windows():
    """An entity across the cut between windows is one span: each token is read where it is farthest from an edge."""
    text = "on " * 21 + "New York " + "on " * 30
    prepared = PREPARER.prepare(text)
    assert len(prepared.windows) > 2
    at = prepared.normalised.text.index("New York")
    inside = np.flatnonzero((prepared.starts >= at) & (prepared.ends <= at + 8) & (prepared.starts < prepared.ends))
    answers = windows_of(prepared, np.eye(7, dtype=np.float32)[np.zeros(len(prepared.starts), int)] * 8)
    for window, answer, after in zip(prepared.windows, answers, [*prepared.windows[1:], None], strict=True):
        rows = answer.tags[0, 1:-1]
        for token in inside:
            if window.first <= token < window.first + len(rows):
                rows[token - window.first] = np.eye(7, dtype=np.float32)[5 if token == inside[0] else 6] * 8
        # Nonsense at the last token before a cut must not be read.
        if after is not None:
            rows[-1] = np.eye(7, dtype=np.float32)[3] * 50
    assert [(e.type, e.text) for e in decode(prepared, answers, BUNDLE, 0.0).entities] == [("LOC", "New York")]


def test_spans_refer_to_what_was_written():
    """Offsets count characters of the original: links, mentions, zero-width and decomposed characters included."""
    text = "@someone\u200b  https://t.co/abc  Jose\u0301 in Zu\u0308rich!"
    entities = tagged(text, José="PER", Zürich="LOC").entities
    assert [(e.type, e.text, e.start) for e in entities] == [("PER", "Jose\u0301", 29), ("LOC", "Zu\u0308rich", 38)]


def test_unspaced_scripts_split_inside_a_run():
    """A Chinese, Japanese or Korean name ends inside a run of characters; neighbours stay apart."""
    assert [(e.type, e.text) for e in tagged("東京の会社", 東京="LOC").entities] == [("LOC", "東京")]
    assert [e.text for e in tagged("서울에서", 서울="LOC").entities] == ["서울"]
    assert [e.text for e in tagged("東京大阪の会社", 東京="LOC", 大阪="LOC").entities] == ["東京", "大阪"]


def test_one_entity_in_a_replaced_stretch():
    """Two spans that the model sees inside one masked mention are one place in the original: one entity."""
    prepared = PREPARER.prepare("@someone")
    tags = np.eye(7, dtype=np.float32)[[1 + 2 * (at % 2) for at in range(len(prepared.starts))]] * 8
    assert [e.text for e in decode(prepared, windows_of(prepared, tags), BUNDLE, 0.0).entities] == ["someone"]


def test_tokens_that_share_a_character_are_one_unit():
    """One character that the tokenizer reads as two ("㍻" as 平成) is never cut in two entities."""
    tags = np.log(np.full((2, 7), 0.02) + np.eye(7)[[5, 5]] * 0.86)
    [span] = decode_spans("一㍻二", np.array([0, 1], np.int32), np.array([2, 3], np.int32), tags)
    assert (span.start, span.end) == (0, 3)


def test_words_vote_as_a_whole():
    """In a script with spaces no entity begins or ends inside a word, even when single pieces disagree."""
    text = "in Grönemeyers Haus"
    starts, ends = np.array([0, 3, 6, 9, 15]), np.array([2, 6, 9, 14, 19])
    tags = np.full((5, 7), -6.0)
    for token, tag in enumerate([0, 1, 2, 0, 0]):
        tags[token, tag] = -0.1
    tags[3, 2] = -2.0
    [span] = decode_spans(text, starts.astype(np.int32), ends.astype(np.int32), tags)
    assert (span.type, text[span.start : span.end]) == ("PER", "Grönemeyers")


def test_confidence_is_of_the_type():
    """A span's confidence is the mean probability that its tokens are of its type, B- or I-."""
    shares = np.array([[0.1, 0.5, 0.2, 0.05, 0.05, 0.05, 0.05], [0.1, 0.1, 0.7, 0.025, 0.025, 0.025, 0.025]])
    [span] = decode_spans("東京", np.array([0, 1], np.int32), np.array([1, 2], np.int32), np.log(shares))
    assert span.confidence == pytest.approx((0.7 + 0.8) / 2)


@settings(deadline=None)
@given(st.lists(st.lists(st.integers(-5, 5), min_size=7, max_size=7), min_size=1, max_size=4))
def test_best_valid_sequence(rows: list[list[int]]):
    """The tags are those of the most probable sequence among all in which I-X follows only B-X or I-X."""

    def valid(tags: tuple[int, ...]) -> bool:
        return all(
            tag == 0 or tag % 2 or before in (tag, tag - 1) for before, tag in zip((0, *tags), tags, strict=False)
        )

    # No two sequences tie: evenly spaced steps would have equal sums.
    scores = np.array(rows) + np.random.default_rng(0).random((len(rows), 7)) / 100
    log_probabilities = scores - np.log(np.exp(scores).sum(axis=1, keepdims=True))
    places = range(len(rows))
    best = max(filter(valid, product(range(7), repeat=len(rows))), key=lambda t: scores[places, t].sum())
    found = ["O"] * len(rows)
    starts = np.arange(len(rows), dtype=np.int32)
    for span in decode_spans("東" * len(rows), starts, starts + np.int32(1), log_probabilities):
        found[span.start : span.end] = [f"B-{span.type}"] + [f"I-{span.type}"] * (span.end - span.start - 1)
    assert found == [TAG_LABELS[tag] for tag in best]


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        (" London, ", "London"),
        ("«Le Monde»", "Le Monde"),
        ("#Tesla", "Tesla"),
        ("U.S.", "U.S."),
        ("U.S...", "U.S."),
        ("Seattle.", "Seattle"),
        ("Bayern (Munich)", "Bayern (Munich)"),
        ("東京「本社」", "東京「本社」"),
        ("AT&T", "AT&T"),
        ("हिन्दी।", "हिन्दी"),
        ("...", ""),
    ],
)
def test_trim(text: str, kept: str):
    """Edges lose space and punctuation, but not what belongs to the name."""
    start, end = trim(text, 0, len(text))
    assert text[start:end] == kept


def test_split_rows():
    """Rows of a batch come apart as answers of one row each."""
    logits = Logits(
        np.arange(6, dtype=np.float32).reshape(2, 3),
        np.arange(8, dtype=np.float32).reshape(2, 4),
        np.zeros((2, 5, 7), np.float32),
        np.zeros((2, 5, 3), np.float32),
    )
    first, second = split_rows(logits)
    assert (first.sentiment.shape, first.topic.shape, first.tags.shape) == ((1, 3), (1, 4), (1, 5, 7))
    assert first.token_sentiment.shape == (1, 5, 3)
    assert second.sentiment.tolist() == [[3, 4, 5]]


def test_a_mention_has_the_sentiment_of_its_clause():
    """Two names in opposed clauses get opposed sentiments, from their own clauses' tokens alone."""
    prepared = PREPARER.prepare("London rose, but Berlin fell.")
    text = prepared.normalised.text
    sentiments = np.zeros((1, prepared.windows[0].length, 3), np.float32)
    border = text.index("but")
    for number, start in enumerate(prepared.starts.tolist(), 1):
        sentiments[0, number] = (0, 0, 4) if start < border else (4, 0, 0)
    tags = np.zeros((1, prepared.windows[0].length, 7), np.float32)
    for number, (start, end) in enumerate(zip(prepared.starts.tolist(), prepared.ends.tolist(), strict=True), 1):
        word = next((at for at in map(text.index, ("London", "Berlin")) if at <= start < end <= at + 6), None)
        tag = "O" if word is None else "B-LOC" if word == start else "I-LOC"
        tags[0, number, TAG_LABELS.index(tag)] = 9
    london, berlin = decode(prepared, [answer(tags, token_sentiment=sentiments)], BUNDLE, 0.0).entities
    assert london.sentiment is not None
    assert berlin.sentiment is not None
    assert london.sentiment.positive > 0.9
    assert berlin.sentiment.negative > 0.9
