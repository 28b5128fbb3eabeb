"""From a signal to its alert: both sides of the shift are read, taken apart, and put into words and examples."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Literal

from worker.alert_event import (
    Alert,
    AlertKey,
    Contrast,
    Contributions,
    Estimate,
    Evidence,
    alert_id,
)
from worker.alerts.evidence import Findings, Question, look_into
from worker.alerts.judge import Judged
from worker.alerts.watched import Watcher
from worker.alerts.windows import WindowRead, Windows, tallies_of
from worker.events import EnrichedPost
from worker.opinion.cells import Cell
from worker.opinion.index import point
from worker.opinion.index.tally import Tally
from worker.opinion.shifts import words
from worker.opinion.shifts.contrast import contrasts
from worker.opinion.shifts.describe import describe, related, spans
from worker.opinion.shifts.words import Key, Shift, Signal, Span
from worker.timing import Clock

CONTRASTS_EACH = 8
CONTRASTS_LOOKED_AT = 200
CLEAR_Z = 2.0
SHARED_BY = 3
"""A word that fewer posts share says little about the shift, and may say who wrote it."""

COMPLETE = 0.99
"""With less, an alert says so."""

WIDENED = 5
"""How often the time before is doubled when it holds no posts to compare with."""

RecentPosts = Callable[[], Sequence[EnrichedPost]]
"""The newest posts; called in a thread, raises `BrokerUnavailable`."""


@dataclass(frozen=True)
class _Made:
    """What an alert is put together from."""

    shift: Shift
    contrasts: list[Contrast]
    examples: list[str]


@dataclass(frozen=True)
class Composer:
    """Makes alerts; reads only when there is one to make.

    Args:
        windows: the aggregates of both sides.
        watcher: what the index is computed with, and what is declared.
        recent: posts to look for words and examples in.
        clock: when the alert is raised.
    """

    windows: Windows
    watcher: Watcher
    recent: RecentPosts
    clock: Clock

    async def compose(self, signal: Signal, judged: Judged) -> Alert | None:
        """The alert of a signal; None when there is nothing to compare the time after with.

        Raises:
            StoreUnavailable, BrokerUnavailable: call again.
        """
        watched = judged.states[signal.key]
        before_span, after_span = spans(signal, watched.state.observed_s)
        after = await self.windows.stretch(signal.key, after_span)
        after_tallies = tallies_of(signal.key, after)
        before_span, before_tallies = await self._before(signal.key, before_span)
        if watched.standard is None or not before_tallies or not after_tallies:
            return None
        sides = (before_tallies, after_tallies)
        try:
            shift = describe(signal, watched.state.observed_s, sides, (watched.standard, self.watcher.confusions))
        except ValueError:  # no posts in the strata that are weighed
            return None
        posts = await asyncio.to_thread(self.recent)
        found = look_into(posts, Question(signal.key, signal.direction, before_span, after_span))
        return self._alert(_Made(shift, contrasts_of(found, sides, signal.key), found.examples), judged, after)

    async def _before(self, key: Key, span: Span) -> tuple[Span, dict[Cell, Tally]]:
        """The time before, begun earlier where it holds no posts."""
        for _ in range(WIDENED):
            tallies = tallies_of(key, await self.windows.stretch(key, span))
            if tallies:
                break
            span = Span(span.start_s - (span.end_s - span.start_s), span.end_s)
        return span, tallies

    def _alert(self, made: _Made, judged: Judged, after: WindowRead) -> Alert:
        shift, limits = made.shift, self.watcher.limits
        key = alert_key(shift.key)
        signal = next(each for each in judged.alerts if each.key == shift.key)
        return Alert(
            alert_id=alert_id(key, shift.direction, shift.span.start_s, shift.epoch),
            key=key,
            direction=shift.direction,
            window_start=_time(shift.span.start_s),
            window_end=_time(shift.span.end_s),
            since=_time(shift.since_s),
            raised_at=datetime.fromtimestamp(self.clock.unix_ms() / 1000, UTC),
            before=_estimate(shift.before.net),
            after=_estimate(shift.after.net),
            moved=shift.moved,
            contributions=Contributions(**{each.factor: each.value for each in shift.contributions}),
            evidence=Evidence(
                false_per_day=shift.false_per_day,
                false_alerts_per_day=limits.false_alerts_per_day,
                posts=shift.after.effective_posts,
                keys=judged.keys,
            ),
            completeness=after.completeness,
            model_versions=list(shift.model_versions),
            contrasts=made.contrasts,
            related=[alert_key(each) for each in related(signal, judged.alerts)],
            examples=made.examples,
            annotations=list(annotations_of(shift, after.completeness.share)),
        )


def contrasts_of(found: Findings, sides: tuple[Mapping[Cell, Tally], Mapping[Cell, Tally]], key: Key) -> list[Contrast]:
    """The words, entities and topics that tell after from before, clearest first of each kind."""
    own = set(key.values)
    topics = [_topic_counts(side) for side in sides]
    kinds: dict[Literal["term", "entity", "topic"], Sequence[words.Contrast]] = {
        "entity": contrasts(found.before.entities, found.after.entities, CONTRASTS_LOOKED_AT),
        "topic": contrasts(topics[0], topics[1], CONTRASTS_LOOKED_AT),
        "term": _words(found),
    }
    made = []
    for kind, looked_at in kinds.items():
        clear = [
            Contrast(kind=kind, name=each.term, z=each.z, before=each.before, after=each.after)
            for each in looked_at
            if abs(each.z) >= CLEAR_Z and max(each.before, each.after) >= SHARED_BY and each.term not in own
        ]
        made += clear[:CONTRASTS_EACH]
    return made


def _words(found: Findings) -> list[words.Contrast]:
    """Compared within each language: else the words of whichever language grew would come first; clearest first."""
    before, after = found.before.terms, found.after.terms
    each = {
        language: contrasts(before[language], after[language], CONTRASTS_LOOKED_AT)
        for language in set(before) & set(after)
    }
    named: dict[str, words.Contrast] = {}
    for one in sorted((one for found in each.values() for one in found), key=lambda one: (-abs(one.z), one.term)):
        named.setdefault(one.term, one)
    return list(named.values())


def _topic_counts(side: Mapping[Cell, Tally]) -> Counter[str]:
    """Posts by topic; mentions are not counted by topic."""
    counts: Counter[str] = Counter()
    for cell, tally in side.items():
        if cell.topic:
            counts[cell.topic] += round(tally.weight)
    return counts


def annotations_of(shift: Shift, complete: float) -> Iterator[str]:
    """What to know of an alert before acting on it."""
    yield from shift.annotations
    if len(shift.model_versions) > 1:
        yield "model_changed"
    if complete < COMPLETE:
        yield "incomplete"


def alert_key(key: Key) -> AlertKey:
    """A key as events name it."""
    names = {
        "language_topic": ("language", "topic"),
        "entity": ("entity",),
        "source_class": ("source_class",),
    }[key.kind]
    return AlertKey(kind=key.kind, **dict(zip(names, key.values, strict=True)))


def _estimate(found: point.Estimate) -> Estimate:
    return Estimate(found.value, found.low, found.high)


def _time(at_s: int) -> datetime:
    return datetime.fromtimestamp(at_s, UTC)
