"""What one outcome adds: pure, integer, bounded by retention."""

from __future__ import annotations

from dataclasses import replace

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.opinion_outcomes import NOW_S, UNKNOWN, Words, dead, position, post, settings, tombstone
from worker.events import Probabilities
from worker.opinion import keys
from worker.opinion.cells import (
    MENTION_LEVELS,
    MICROS,
    NOTHING,
    POST_LEVELS,
    WIDTH_S,
    Bucket,
    Cell,
    Level,
    Measures,
    Outcome,
    Retention,
)
from worker.opinion.increments import NO_ENTITY, Increments, increments, language_key

RETENTION = Retention.of(settings())
LABELS = st.sampled_from(["negative", "neutral", "positive"])


def of(outcome: Outcome) -> Increments:
    return increments(outcome, RETENTION, NOW_S * 1000)


@given(at_s=st.integers(NOW_S - 400 * 86_400, NOW_S + 300))
def test_a_post_counts_in_the_bucket_that_holds_it_or_is_too_late(at_s: int) -> None:
    """Each level either keeps the post in the one UTC-aligned bucket around its event time, or calls it too late."""
    added = of(post(0, Words(at_s=at_s)))
    for bucket in added.buckets + added.mention_buckets:
        assert bucket.start_s <= at_s < bucket.end_s
        assert bucket.start_s % WIDTH_S[bucket.level] == 0
        assert bucket.end_s + RETENTION.levels_s[bucket.level] > NOW_S
    kept = {bucket.level for bucket in added.buckets + added.mention_buckets}
    assert kept.isdisjoint(added.too_late)
    assert kept | set(added.too_late) == set(POST_LEVELS) | set(MENTION_LEVELS)


def test_event_time_keeps_its_milliseconds() -> None:
    """The newest event is told to the millisecond, without floating-point dust."""
    assert of(post(0, Words(at_s=NOW_S - 1.001))).at_ms == NOW_S * 1000 - 1001


@given(label=LABELS, abstained=st.booleans())
def test_a_post_adds_one_count_and_scores_only_with_a_label(label: str, abstained: bool) -> None:
    """An abstained post is analysed, but adds neither a label nor a score."""
    measures = of(post(0, Words(label=label, abstained=abstained))).measures
    assert measures.analysed == 1
    assert measures.labelled == int(not abstained)
    assert measures == Measures(abstained=1) if abstained else getattr(measures, label) == 1


def test_scores_are_whole_millionths() -> None:
    """P(positive) - P(negative) and its square, rounded to millionths once, at the source."""
    assert of(post(0, Words(label="positive"))).measures == Measures(
        positive=1, score_micros=750_000, score_squares_micros=562_500
    )
    assert of(post(0, Words(label="negative"))).measures == Measures(
        negative=1, score_micros=-600_000, score_squares_micros=360_000
    )


def test_a_mention_has_its_own_sentiment_or_that_of_its_post() -> None:
    """`entities[].sentiment` counts where the model gave one; a null takes the post's, abstention included."""
    own = Probabilities(0.9, 0.05, 0.05)
    for abstained in (False, True):
        added = of(post(0, Words(abstained=abstained, entities=["Apple", ("Berlin", own)])))
        apple, berlin = added.mentions
        assert apple.measures == added.measures
        assert (berlin.measures.negative, berlin.measures.score_micros) == (1, -850_000)


def test_a_dead_letter_counts_at_its_broker_time() -> None:
    """Its event time is unknown or cannot be trusted; beyond retention it is too late as a post is."""
    added = of(dead(0, at_s=NOW_S - 3 * 86_400))
    assert [bucket.level for bucket in added.buckets] == ["hour", "day"]
    assert added.too_late == ("minute",)
    assert (added.cell, added.mentions) == (None, ())


def test_a_late_post_is_told_where_it_arrived() -> None:
    """The bucket of its broker timestamp says that a post came too late for its own."""
    added = of(post(0, Words(at_s=NOW_S - 40 * 86_400)))
    assert [bucket.level for bucket in added.late_buckets] == ["minute", "hour"]
    assert all(bucket.start_s <= NOW_S < bucket.end_s for bucket in added.late_buckets)


def test_a_tombstone_adds_nothing_to_any_bucket() -> None:
    """It has neither text nor event time; stores count it in their totals."""
    assert of(tombstone(0)) == Increments()


def test_an_analysed_outcome_needs_its_event() -> None:
    """No label is invented for one that lacks it."""
    with pytest.raises(ValueError, match="carries no event"):
        of(Outcome(position=position(0), kind="analysed", broker_ms=0))


def test_a_copy_has_a_cell_of_its_own() -> None:
    """So each story once and all copies are sums of cells, both exact; an event without a decision is a first one."""
    first, copy = of(post(0)), of(post(0, Words(copy_of="a story")))
    assert first.cell is not None
    assert (first.cell.copy, copy.cell) == (False, first.cell._replace(copy=True))
    event = post(0).event
    assert event is not None
    older = msgspec.structs.replace(event, story=None)
    assert of(replace(post(0), event=older)).cell == first.cell


@given(st.from_regex(r"[a-z]{3}(-[A-Z][a-z]{3})?", fullmatch=True).filter(lambda tag: tag != "und"))
def test_rare_languages_share_a_key(tag: str) -> None:
    """A hint can name any language; those without a code of two letters count as (other), and the cells stay few."""
    cell = of(post(0, Words(language=tag))).cell
    assert cell is not None
    assert cell.language == "(other)"


@pytest.mark.parametrize("tag", ["en", "zh-Hant", "hi-Latn", "und", "yo"])
def test_common_languages_have_keys_of_their_own(tag: str) -> None:
    """All that are served, and what is undetermined."""
    assert language_key(tag) == tag


def test_details_are_kept_for_their_own_time() -> None:
    """Authors count in a post's minute, five minutes and hour, samples in the hour, unless forgotten already."""
    assert of(post(0, Words(author="ann"))).details == (
        Bucket("minute", (NOW_S - 30) // 60 * 60),
        Bucket("hour", NOW_S // 3600 * 3600),
        Bucket("five_minutes", (NOW_S - 30) // 300 * 300),
    )
    late = of(post(0, Words(author="ann", at_s=NOW_S - 3 * 86_400)))
    assert (late.details, [bucket.level for bucket in late.buckets]) == ((), ["hour", "day"])


def test_details_of_minutes_are_kept_no_longer_than_minutes() -> None:
    """Whichever of the two retentions is shorter."""
    minute, hour = Bucket("minute", 60), Bucket("hour", 0)
    short, long = (
        Retention.of(settings(retention_minute_s=7200, retention_details_s=details_s)) for details_s in (3600, 86_400)
    )
    assert (short.details_expire_at_s(minute), short.details_expire_at_s(hour)) == (120 + 3600, 3600 + 3600)
    assert (long.details_expire_at_s(minute), long.details_expire_at_s(hour)) == (120 + 7200, 3600 + 86_400)


def test_a_mention_counts_under_its_id() -> None:
    """One series an entity, whatever it is called; what the alias table does not know is one entity, `(other)`."""
    added = of(post(0, Words(entities=["apple", "apple", UNKNOWN])))
    assert [mention.form for mention in added.mentions] == ["org:apple", "org:apple", NO_ENTITY]


@given(
    st.lists(
        st.builds(
            Measures,
            *[st.integers(0, 10**6)] * 4,
            st.integers(-(10**12), 10**12),
            st.integers(0, 10**12),
        )
    ),
    st.randoms(),
)
def test_sums_do_not_depend_on_order(parts: list[Measures], random: object) -> None:
    """Every aggregate commutes, so that shards, batches and repeats may come in any order."""
    shuffled = sorted(parts, key=lambda _: random.random())  # type: ignore[attr-defined]
    one = other = NOTHING
    for part in parts:
        one = one.plus(part)
    for part in shuffled:
        other = other.plus(part)
    assert one == other


def test_net_sentiment_is_a_difference_of_shares() -> None:
    """Of labelled posts alone; unknown without any."""
    measures = Measures(negative=1, neutral=1, positive=2, abstained=6, score_micros=2 * MICROS, score_squares_micros=0)
    assert (measures.net_sentiment, measures.mean_score) == (0.25, 0.5)
    assert (Measures(abstained=3).net_sentiment, NOTHING.mean_score) == (None, None)


@given(st.tuples(*[st.text(st.characters(exclude_characters="\x1f"), max_size=12)] * 4), st.booleans())
def test_cell_names_are_read_back(parts: tuple[str, str, str, str], copy: bool) -> None:
    """A cell's name in Redis gives the cell."""
    assert keys.parse_cell_name(keys.cell_name(Cell(*parts, copy))) == Cell(*parts, copy)


@pytest.mark.parametrize("level", WIDTH_S)
def test_bucket_keys_differ_by_level(level: Level) -> None:
    """A minute, an hour and a day may start at the same second."""
    others = {keys.bucket_suffix(Bucket(other, 0)) for other in WIDTH_S if other != level}
    assert keys.bucket_suffix(Bucket(level, 0)) not in others
