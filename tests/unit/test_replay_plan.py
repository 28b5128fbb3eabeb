"""What a replay takes on, what it refuses, and what an outcome adds when it is counted anew."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.opinion_outcomes import NOW_S, SHARD, Words, dead, post, settings
from worker.errors import ConfigInvalid, PositionLost
from worker.feeds.stretch import Span
from worker.opinion.cells import Outcome, Retention
from worker.opinion.days import Days, Written, counted_anew
from worker.opinion.increments import increments
from worker.replay.plan import check_places, days_asked, refuse_expired, written_since_ms
from worker.settings import DAY_S

NOW = datetime.fromtimestamp(NOW_S, UTC)
TODAY_S = NOW_S // DAY_S * DAY_S
RETENTION = Retention.of(settings())
ALWAYS = Days(0, TODAY_S + 2 * DAY_S)
AGES_S = st.integers(0, 40 * DAY_S) | st.integers(380 * DAY_S, 402 * DAY_S)


def outcome(at_s: float) -> Outcome:
    return post(0, Words(at_s=at_s, author="ann", entities=["Apple"]))


def test_a_range_is_widened_to_whole_days_up_to_tomorrow() -> None:
    """In UTC, whatever the offset that was given; a moment at midnight belongs to no day before it."""
    begin = datetime(2096, 9, 1, 1, 30, tzinfo=UTC)
    assert days_asked(begin, begin + timedelta(days=2), NOW_S) == Days.around(
        datetime(2096, 9, 1, tzinfo=UTC).timestamp(), datetime(2096, 9, 4, tzinfo=UTC).timestamp()
    )
    midnight = datetime(2096, 9, 2, tzinfo=UTC)
    assert days_asked(begin, midnight, NOW_S).end_s == midnight.timestamp()
    assert days_asked(begin, datetime(2999, 1, 1, tzinfo=UTC), NOW_S).end_s == TODAY_S + 2 * DAY_S


@pytest.mark.parametrize("hours", [0, -1])
def test_an_empty_range_is_refused(hours: int) -> None:
    """By a message that names both ends."""
    with pytest.raises(ConfigInvalid, match="--from 2096-10-02"):
        days_asked(NOW, NOW + timedelta(hours=hours), NOW_S)


def test_days_beyond_the_logs_are_refused_and_the_first_possible_one_is_named() -> None:
    """Outcomes may be gone of every day that has begun before the oldest kept one was written; the named day passes."""
    span = Span("enriched", 3, 10, 99, (TODAY_S - 3 * DAY_S) * 1000)
    with pytest.raises(
        ConfigInvalid, match=r"enriched\[3\] has lost its first 10 .* --from can be (\S+) at the earliest"
    ) as refused:
        refuse_expired(Days(TODAY_S - 3 * DAY_S, TODAY_S), [span], settings(), NOW_S)
    named = datetime.fromisoformat(str(refused.value).rpartition("--from can be ")[2].split()[0]).replace(tzinfo=UTC)
    assert named.timestamp() == TODAY_S - 2 * DAY_S
    refuse_expired(days_asked(named, NOW, NOW_S), [span], settings(), NOW_S)
    refuse_expired(Days(TODAY_S - 9 * DAY_S, TODAY_S), [replace(span, begin=0, oldest_ms=None)], settings(), NOW_S)


def test_a_log_that_retention_emptied_tells_nothing() -> None:
    """Nobody knows when its outcomes were written."""
    with pytest.raises(ConfigInvalid, match="lost its 10 outcomes"):
        refuse_expired(Days(TODAY_S, TODAY_S + DAY_S), [Span("enriched", 0, 10, 10)], settings(), NOW_S)


def test_days_that_the_aggregates_forgot_are_refused() -> None:
    """The named day is the first that is still kept."""
    with pytest.raises(ConfigInvalid, match="POLYVOX_RETENTION_DAY_S: --from can be") as refused:
        refuse_expired(Days(0, TODAY_S), [], settings(), NOW_S)
    named = datetime.fromisoformat(str(refused.value).rpartition("--from can be ")[2].split()[0]).replace(tzinfo=UTC)
    assert NOW_S < named.timestamp() + DAY_S + 400 * DAY_S <= NOW_S + DAY_S
    refuse_expired(days_asked(named, NOW, NOW_S), [], settings(), NOW_S)


def test_positions_that_the_logs_do_not_explain_are_refused() -> None:
    """A topic that was made anew, and one that the settings do not name."""
    spans = {("enriched", 0): Span("enriched", 0, 0, 10)}
    check_places(SHARD, {("enriched", 0): 10}, spans)
    with pytest.raises(PositionLost, match="up to 11, the log holds 0 to 10"):
        check_places(SHARD, {("enriched", 0): 11}, spans)
    with pytest.raises(ConfigInvalid, match=r"old-enriched\[1\]"):
        check_places(SHARD, {("old-enriched", 1): 1}, spans)


@given(age_s=AGES_S, written_s=st.integers(0, 5 * DAY_S), later_s=st.integers(0, 5 * DAY_S))
def test_counted_anew_is_what_was_counted_less_what_is_forgotten(age_s: int, written_s: int, later_s: int) -> None:
    """At any time later: the buckets of then that are kept now, and what was too late then, no more and no less."""
    one, then_ms = outcome(NOW_S - age_s), NOW_S * 1000
    now_ms = then_ms + later_s * 1000
    then, anew = increments(one, RETENTION, then_ms), counted_anew(Written(one, then_ms), ALWAYS, RETENTION, now_ms)
    for name in ("buckets", "late_buckets", "mention_buckets", "details"):
        expires_at_s = RETENTION.details_expire_at_s if name == "details" else RETENTION.expires_at_s
        kept = [each for each in getattr(then, name) if expires_at_s(each) * 1000 > now_ms]
        assert list(getattr(anew, name)) == kept
    assert (anew.too_late, anew.cell, anew.mentions) == (then.too_late, then.cell, then.mentions)
    again = counted_anew(Written(one, then_ms), ALWAYS, RETENTION, now_ms)
    assert again == anew


@given(age_s=st.integers(0, 3 * DAY_S), first=st.integers(-4, 0), count=st.integers(1, 3))
def test_other_days_get_nothing(age_s: int, first: int, count: int) -> None:
    """Each bucket, those of authors and samples too, is of the days that were asked for."""
    days = Days(TODAY_S + first * DAY_S, TODAY_S + (first + count) * DAY_S)
    for one in (outcome(NOW_S - age_s), dead(0, at_s=NOW_S - age_s)):
        anew = counted_anew(Written(one, NOW_S * 1000), days, RETENTION, NOW_S * 1000)
        found = [*anew.buckets, *anew.late_buckets, *anew.mention_buckets, *anew.details]
        assert all(days.start_s <= each.start_s and each.end_s <= days.end_s for each in found)
        whole = counted_anew(Written(one, NOW_S * 1000), ALWAYS, RETENTION, NOW_S * 1000)
        assert set(anew.buckets) == {each for each in whole.buckets if days.takes(each)}


@pytest.mark.parametrize("tolerance_s", [0, 300, 7200])
def test_what_is_not_read_would_add_nothing(tolerance_s: int) -> None:
    """A post is dated after its record by the tolerance at most, and its outcome is written later still."""
    configured = settings(future_tolerance_s=tolerance_s)
    days = Days(TODAY_S - DAY_S, TODAY_S)
    written_ms = written_since_ms(days, configured) - 1
    latest = outcome(written_ms / 1000 + tolerance_s)
    anew = counted_anew(Written(latest, written_ms), days, RETENTION, NOW_S * 1000)
    assert (anew.buckets, anew.mention_buckets, anew.details) == ((), (), ())
