"""The verification: silent on every healthy history, and no damage goes unseen."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import msgspec
import pytest
from hypothesis import assume, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from tests.histories import DAY_S, History, audit, histories, record
from tests.opinion_outcomes import NOW_S, SHARD, Words, dead, post, settings
from worker.events import EnrichedPost
from worker.opinion.cells import Bucket, Measures, Outcome
from worker.opinion.reader import Posts
from worker.verify.compare import Snapshot

FEW = hypothesis_settings(max_examples=50)


def history(outcomes: Sequence[Outcome], inputs: int) -> History:
    """All of it applied, the dead letters first."""
    found = History({"dead-letters": [], "enriched": []}, inputs=inputs)
    for outcome in outcomes:
        found.write(outcome)
    return found.everything_applied()


@FEW
@given(history=histories(), later_s=st.sampled_from([0, 3600, 3 * DAY_S, 40 * DAY_S]))
def test_a_healthy_history_has_no_finding(history: History, later_s: float) -> None:
    """Repeats, requeued ones, a stage that lags, posts too late for some buckets, at any time later: silence."""
    found, range_ = audit(history, history.stored(), later_s=later_s)
    assert (found.wrong, found.findings, range_.missing) == ({}, [], 0)


@FEW
@given(history=histories(repeats=False), data=st.data())
def test_a_missing_outcome_is_found(history: History, data: st.DataObject) -> None:
    """A record without any outcome is named by its position, whatever surrounds it."""
    lost = data.draw(st.integers(0, history.inputs - 1))
    for topic, log in history.logs.items():
        history.logs[topic] = [outcome for outcome in log if outcome.position.offset != lost]
    found, range_ = audit(history, history.stored())
    assert range_.missing == found.wrong["no_outcome"] == 1
    assert f"posts.social[0]@{lost}" in [finding.where for finding in found.findings]


def damaged(stored: Snapshot, data: st.DataObject) -> Snapshot:
    """One value changed by one or taken away, or one that nothing implies."""
    total = st.sampled_from(sorted(name for name in stored.totals if name != "applied_ms" and "too_late" not in name))
    posts, mentions = dict(stored.posts), dict(stored.mentions)
    what = data.draw(st.sampled_from(["total", "count", "cell", "mention", "bucket", "extra", "extra bucket"]))
    if what == "total":
        name = data.draw(total)
        return replace(
            stored, totals={**stored.totals, name: stored.totals[name] + data.draw(st.sampled_from([1, -1]))}
        )
    if what == "mention":
        assume(any(mentions.values()))
        bucket = data.draw(st.sampled_from(sorted(each for each, cells in mentions.items() if cells)))
        mentions[bucket] = dict(list(mentions[bucket].items())[1:])
        return replace(stored, mentions=mentions)
    assume(any(each.cells for each in posts.values()))
    bucket = data.draw(st.sampled_from(sorted(each for each in posts if posts[each].cells)))
    cells, counts = dict(posts[bucket].cells), dict(posts[bucket].counts)
    cell = data.draw(st.sampled_from(sorted(cells)))
    if what == "extra bucket":
        bucket, counts = Bucket("hour", NOW_S // 3600 * 3600 - 7200), {}
    elif what == "count":
        counts["newest_event_ms"] -= 1
    elif what == "cell":
        cells[cell] = cells[cell].plus(Measures(score_micros=data.draw(st.sampled_from([1, -1]))))
    elif what == "bucket":
        del cells[cell]
    else:
        cells[cell._replace(language="xx")] = Measures(positive=1)
    posts[bucket] = Posts(cells, counts)
    return replace(stored, posts=posts)


@FEW
@given(history=histories(), data=st.data())
def test_a_damaged_counter_is_found(history: History, data: st.DataObject) -> None:
    """Every value that is off by one, gone, or implied by nothing."""
    history = history.everything_applied()
    found, _ = audit(history, damaged(history.stored(), data))
    assert found.wrong["counter"] >= 1
    assert all(SHARD in finding.where for finding in found.findings)


@FEW
@given(history=histories(), data=st.data())
def test_a_differing_repeat_is_found(history: History, data: st.DataObject) -> None:
    """Another label of the same record and model version breaks a promise; another model version is only listed."""
    analysed = [outcome for outcome in history.logs["enriched"] if outcome.event is not None]
    assume(analysed)
    first = data.draw(st.sampled_from(analysed))
    assert first.event is not None
    topic = first.event.topic
    relabelled = replace(first, event=_changed(first, topic_label="medtop:99"))
    remodelled = replace(first, event=_changed(first, topic_label=topic.label, version="analyzer:2.0.0+bbbbbbbb"))
    history.logs["enriched"] += [relabelled, remodelled]
    found, _ = audit(history, history.stored())
    repeats, repeated = found.repeats()
    assert found.wrong == {"labels": 1}
    assert (repeated["labels"], repeated["model"]) == (1, 1)
    assert {repeat.event_id for repeat in repeats if repeat.difference != "kind"} == {first.position.event_id}


def _changed(outcome: Outcome, *, topic_label: str, version: str = "") -> EnrichedPost:
    """The event of an outcome with another topic or model."""
    event = outcome.event
    assert event is not None
    model = msgspec.structs.replace(event.model, version=version or event.model.version)
    return msgspec.structs.replace(event, topic=msgspec.structs.replace(event.topic, label=topic_label), model=model)


@pytest.mark.parametrize("analysed_first", [True, False])
def test_the_guard_tells_which_of_two_outcomes_was_applied(analysed_first: bool) -> None:
    """A dead letter and an analysis of one record, applied in either order: the counters fit either way."""
    both = History({"dead-letters": [dead(0)], "enriched": [post(0), post(1)]}, inputs=2)
    order = ["enriched", "dead-letters"] if analysed_first else ["dead-letters", "enriched"]
    both.applied = [(topic, 5) for topic in order]
    found, _ = audit(both, both.stored())
    assert found.wrong == {}
    assert found.repeats()[1] == {"kind": 1}


def test_expired_outcomes_are_no_losses() -> None:
    """What retention took from `enriched` is named, not reported as lost; nothing can be said of the totals then."""
    whole = history([post(offset) for offset in range(10)], 10)
    found, range_ = audit(whole, whole.stored(), cut=4)
    assert (found.wrong, range_.missing, range_.unknown) == ({}, 0, 4)
    assert any("expired" in line for line in found.unchecked)


def test_newer_buckets_are_compared_when_the_oldest_outcomes_have_expired() -> None:
    """A bucket that begins after the oldest kept outcome was written is exact: damage in it is found."""
    later = post(5, Words(at_s=NOW_S + 3000))
    later = replace(later, broker_ms=(NOW_S + 3000) * 1000)
    whole = history([*(post(offset) for offset in range(5)), later], 6)
    stored = whole.stored()
    assert audit(whole, stored, cut=2)[0].counters > 0
    posts = {bucket: Posts(dict(each.cells), {}) for bucket, each in stored.posts.items()}
    assert audit(whole, replace(stored, posts=posts), cut=2)[0].wrong["counter"] >= 1


def test_a_shard_that_never_stands_still_is_named() -> None:
    """Counters that were written to during every reading are not compared, and the report says so."""
    whole = history([post(0)], 1)
    whole.stored()
    found, _ = audit(whole, None)
    assert (found.wrong, found.counters) == ({}, 0)
    assert any("written to" in line for line in found.unchecked)


def test_a_position_beyond_the_log_is_found() -> None:
    """The output topic was made anew: the stored position points to nothing."""
    whole = history([post(0)], 1)
    stored = whole.stored()
    found, _ = audit(whole, replace(stored, positions={**stored.positions, ("enriched", 0): 7}))
    assert found.wrong["position"] == 1


def test_before_the_first_start_nothing_is_due() -> None:
    """A worker that was told to start at the end of the topic owes nothing for what was there before."""
    late = history([post(offset) for offset in range(5, 8)], 8)
    assert audit(late, late.stored(), configured=settings(start_at="latest"))[1].missing == 0
    assert audit(late, late.stored())[1].missing == 5


def test_foreign_records_are_counted_and_harm_nothing() -> None:
    """A record of somebody else in `enriched` is no outcome."""
    whole = history([post(0)], 1)
    stored = whole.stored()
    whole.logs["enriched"] = [post(0)]
    found, _ = audit(whole, stored)
    foreign = replace(record(post(0), 0), headers=())
    found.take(foreign)
    assert found.output_ranges()[1].foreign == 1
