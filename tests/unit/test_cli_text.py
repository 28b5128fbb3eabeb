"""What the command line prints: text that is safe to print, records as lines and objects, the demo's figures."""

from __future__ import annotations

import io
import json
import math
import unicodedata
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry, Histogram, generate_latest
from rich.console import Console

from tests.alert_samples import alert
from worker.alert_event import decode_alert
from worker.cli.analyze import read_line
from worker.cli.console import printable
from worker.cli.records import as_line, as_object
from worker.cli.report import BAR_CHARS, share_bar, show
from worker.events import (
    DeadLetter,
    EnrichedPost,
    Entity,
    ModelRef,
    Post,
    Probabilities,
    Sentiment,
    SourcePosition,
    Timings,
    Topic,
    dead_letter_headers,
    encode,
    position_headers,
)
from worker.feeds.log import Record
from worker.local.opinions import Opinions
from worker.local.outcomes import Outcomes
from worker.local.report import Report, histogram_quantiles_ms, quantiles
from worker.opinion.answers import Totals
from worker.opinion.cells import Measures
from worker.opinion.index.point import Estimate, IndexPoint
from worker.opinion.queries import Mover
from worker.telemetry import LATENCY_BUCKETS_S

POSITION = SourcePosition("posts.social", "id", 2, 7)
WHEN = datetime(2025, 1, 2, tzinfo=UTC)
ESCAPE = "\x1b[31mred\x1b[0m"


def enriched(text: str) -> EnrichedPost:
    """An analysed post."""
    return EnrichedPost(
        event_id=POSITION.event_id,
        position=POSITION,
        source_class="social",
        event_time=WHEN,
        post=Post(id="1", source="x", published_at=WHEN, text=text),
        language="pt-BR",
        language_confidence=0.9,
        sentiment=Sentiment(label="negative", confidence=0.75, probabilities=Probabilities(0.75, 0.15, 0.1)),
        topic=Topic(label="medtop:1", name="sport", confidence=0.5, probabilities={"medtop:1": 0.5}),
        entities=[Entity(type="ORG", text="Benfica", start=0, end=7, confidence=0.9)],
        model=ModelRef("analyzer", "analyzer:1+0"),
        flags=["published_at_clamped"],
        timings=Timings(broker_ms=1, received_ms=2, analysed_ms=3),
    )


def record(value: bytes | None, headers: list[tuple[str, bytes]] | None = None, offset: int = 0) -> Record:
    """A record of some topic."""
    return Record("topic", 0, offset, 1500, b"key", value, tuple(headers or ()))


LETTER = DeadLetter(
    event_id=POSITION.event_id, position=POSITION, broker_ms=1000, stage="decode", reason="not_json", size_bytes=3
)


@given(st.text(st.characters(exclude_categories=[])), st.integers(1, 50))
def test_printed_text_cannot_touch_the_terminal(text: str, limit: int) -> None:
    """Whatever a post holds: one line, no control character, no direction override, within the limit."""
    shown = printable(text, limit)
    assert len(shown) <= limit
    assert not any(unicodedata.category(character) in ("Cc", "Cs", "Zl", "Zp") for character in shown)
    assert not set(shown) & set("\u202a\u202b\u202d\u202e\u2066\u2067\u2068")


@given(st.text(min_size=1).filter(lambda text: not text.lstrip().startswith("{")))
def test_a_line_that_is_no_object_is_the_text(line: str) -> None:
    """Numbers, quotes and brackets are text too."""
    assert read_line(line) == (line, None)


@pytest.mark.parametrize(
    ("line", "text"),
    [
        ('{"text": "a", "language": "de"}', ("a", "de")),
        ('{"text": "a", "lang": "de"}', ("a", None)),
        ('{"text": "a", "language": 7}', ("a", None)),
        ('{"text": 7}', ('{"text": 7}', None)),
        ('{"other": "a"}', ('{"other": "a"}', None)),
        ("{broken", ("{broken", None)),
    ],
)
def test_an_object_gives_its_text_and_language(line: str, text: tuple[str, str | None]) -> None:
    """`lang` is a label in data sets, not a publisher's hint; what is no post is text."""
    assert read_line(line) == text


def test_an_enriched_record_reads_as_one_line() -> None:
    """Language, label, topic, flags, text and entities; escape sequences of the text are not passed on."""
    event = enriched(f"Benfica lost\n{ESCAPE}")
    line = as_line(record(encode(event), position_headers(POSITION, 1))).plain
    for part in ("pt-BR", "negative", "75%", "sport", "published_at_clamped", "Benfica lost", "Benfica ORG"):
        assert part in line
    assert "\x1b" not in line
    assert "\n" not in line


def test_an_enriched_record_is_its_own_json() -> None:
    """`--json` passes the value on."""
    event = enriched("x")
    assert as_object(record(encode(event), position_headers(POSITION, 1))) == json.loads(encode(event))


def test_a_dead_letter_shows_why_and_what() -> None:
    """Reason, event id and the bytes, whatever they are."""
    found = record(b"\xff{\x1b", dead_letter_headers(LETTER))
    line = as_line(found).plain
    for part in ("decode: not_json", POSITION.event_id, "posts.social/2@7"):
        assert part in line
    assert "\x1b" not in line
    shown = as_object(found)
    assert (shown["reason"], shown["value"]) == ("not_json", "\ufffd{\x1b")


@pytest.mark.parametrize(
    ("value", "shown"), [(None, None), (b'{"a": 1}', {"a": 1}), (b"text", "text"), (b"\xff", "\ufffd")]
)
def test_any_other_record_shows_its_place_and_value(value: bytes | None, shown: object) -> None:
    """Also a tombstone, and bytes that are no text."""
    assert as_object(record(value, offset=9)) == {
        "topic": "topic",
        "partition": 0,
        "offset": 9,
        "timestamp_ms": 1500,
        "key": "key",
        "value": shown,
    }
    assert "topic/0@9" in as_line(record(value, offset=9)).plain


@given(st.lists(st.floats(0.003, 80), min_size=1, max_size=40))
def test_quantiles_from_the_histogram_are_within_a_bucket_of_the_true_ones(latencies_s: list[float]) -> None:
    """The worker's buckets grow by 5 %, so a quantile read from them is at most that much too high."""
    registry = CollectorRegistry()
    histogram = Histogram("latency", "x", ["stage"], buckets=LATENCY_BUCKETS_S, registry=registry)
    for latency_s in latencies_s:
        histogram.labels(stage="aggregated").observe(latency_s)
    histogram.labels(stage="other").observe(80)
    found = histogram_quantiles_ms(generate_latest(registry).decode(), "latency", {"stage": "aggregated"})
    true = quantiles([latency_s * 1000 for latency_s in latencies_s])
    for name, value in true.items():
        assert value * 0.999 - 0.1 <= found[name] <= value * 1.0501 + 0.1


def test_a_histogram_without_observations_has_no_quantiles() -> None:
    """None is invented."""
    assert histogram_quantiles_ms("", "latency", {}) == {}
    assert histogram_quantiles_ms('latency_bucket{le="+Inf"} 0.0', "latency", {}) == {}
    assert quantiles([]) == {}


def test_what_is_slower_than_the_last_bucket_counts_as_that() -> None:
    """A JSON line cannot hold infinity."""
    exposition = 'latency_bucket{le="1.0"} 1.0\nlatency_bucket{le="+Inf"} 2.0'
    assert histogram_quantiles_ms(exposition, "latency", {}) == {"p50": 1000.0, "p95": 1000.0, "p99": 1000.0}


@given(st.integers(0, 10_000), st.integers(0, 10_000), st.integers(0, 10_000))
def test_a_share_bar_is_always_as_long(negative: int, neutral: int, positive: int) -> None:
    """Each label's part is its share, rounded; empty when nothing has a label."""
    bar = share_bar(Measures(negative, neutral, positive)).plain
    total = negative + neutral + positive
    assert len(bar) == (BAR_CHARS if total else 0)
    for glyph, count in (("▒", negative), ("░", neutral), ("█", positive)):
        assert not total or math.isclose(bar.count(glyph), BAR_CHARS * count / total, abs_tol=1)


def test_a_repeated_outcome_counts_once() -> None:
    """Kafka output is at-least-once; the demo's figures are not."""
    outcomes = Outcomes()
    analysed = record(encode(enriched("x")), position_headers(POSITION, 1000))
    for _ in range(3):
        outcomes.add(analysed)
    other = SourcePosition("posts.social", "id", 2, 8)
    outcomes.add(record(None, position_headers(other, 1400)))
    letter = DeadLetter(
        event_id="0", position=SourcePosition("posts.social", "id", 2, 9), broker_ms=1500, stage="decode", reason="r"
    )
    outcomes.add(record(b"x", dead_letter_headers(letter)))
    assert (outcomes.count, outcomes.analysed, outcomes.dead_lettered, outcomes.tombstones) == (3, 1, 1, 1)
    assert outcomes.latencies_ms == [500, 100, 0]
    assert (dict(outcomes.languages), dict(outcomes.reasons)) == ({"pt-BR": 1}, {"r": 1})


def report() -> Report:
    """A small run."""
    return Report(
        produced=3,
        analysed=2,
        dead_lettered=1,
        tombstones=1,
        seconds=2.0,
        model="analyzer:1+0",
        languages={"pt-BR": 2},
        flags={"published_at_clamped": 1},
        dead_letter_reasons={"not_json": 1},
        enriched_ms={"p50": 1.0, "p95": 2.0, "p99": 3.0},
        aggregated_ms={"p50": 4.0, "p95": 5.0, "p99": 6.0},
        topic_names={"medtop:04000000": "economy"},
        opinions=Opinions(
            totals=Totals(too_late={"minute": 4, "day": 3}),
            by_language={"pt-BR": Measures(1, 0, 1)},
            by_topic={"sport": Measures(2, 0, 0)},
            top_entities=[(f"Benfica{ESCAPE}", Measures(2, 0, 0))],
            index={"pt-BR": POINT},
            movers=[Mover("medtop:04000000", Measures(1, 0, 3), Measures(3, 0, 1), 0.0, -2.5)],
            alerts=[alert()],
        ),
        planted_at=datetime(2026, 11, 20, 10, 20, tzinfo=UTC),
    )


POINT = IndexPoint(
    net=Estimate(value=0.1, low=-0.2, high=0.4),
    negative=Estimate(value=0.4, low=0.3, high=0.5),
    neutral=Estimate(value=0.1, low=0.0, high=0.2),
    positive=Estimate(value=0.5, low=0.4, high=0.6),
    unbounded_net=0.1,
    sampling_variance=0.01,
    matrix_variance=0.01,
    posts=2.0,
    effective_posts=2.0,
)


def test_the_summary_holds_what_was_promised() -> None:
    """Throughput counts every record, tombstones too."""
    summary = report().summary()
    assert {"produced", "analysed", "dead_lettered", "languages", "events_per_s", "latency_ms"} <= set(summary)
    assert summary["events_per_s"] == 2.0
    assert summary["latency_ms"]["aggregated"]["p99"] == 6.0
    assert summary["index"] == {"pt-BR": {"net": 0.1, "low": -0.2, "high": 0.4, "posts": 2.0}}
    assert summary["movers"] == [{"key": "medtop:04000000", "volume_z": 0.0, "sentiment_z": -2.5}]
    assert decode_alert(json.dumps(summary["alerts"][0])) == alert()
    json.dumps(summary, allow_nan=False)


def test_the_summary_for_people_names_everything() -> None:
    """Languages, topics, entities, dead letters, flags, speed; nothing that a terminal would obey."""
    stream = io.StringIO()
    show(report(), Console(file=stream, width=120))
    shown = stream.getvalue()
    for part in ("pt-BR", "sport", "Benfica", "not_json", "published_at_clamped", "tombstone", "p99", "analyzer:1+0"):
        assert part in shown
    assert "3 posts are older" in shown
    assert "+0.10 [-0.20, +0.40]" in shown
    for part in ("top movers", "economy", "10:20 UTC", "planted", "sentiment     -0.20", "strike 3→40", "post-1"):
        assert part in shown
    assert "\x1b" not in shown
