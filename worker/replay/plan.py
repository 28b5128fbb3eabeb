"""What is asked for, what the logs can give, and where to begin: pure."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

from worker.errors import ConfigInvalid, PositionLost
from worker.feeds.stretch import Span
from worker.opinion.days import Days
from worker.settings import DAY_S, Settings
from worker.verify.audit import CLOCKS_S, Place


@dataclass(frozen=True, slots=True)
class Source:
    """One partition of an input topic, to be rebuilt.

    Args:
        start: of each output partition that may hold its outcomes, the first offset to count.
        whole: whether that is every outcome ever; then the totals are rebuilt too.
    """

    shard: str
    start: Mapping[Place, int]
    whole: bool


def days_asked(begin: datetime, end: datetime, now_s: float) -> Days:
    """The whole days of a range, tomorrow at the latest: a post can be dated a little ahead.

    Raises:
        ConfigInvalid: the range is empty.
    """
    days = Days.around(begin.timestamp(), min(end.timestamp(), now_s + DAY_S))
    if begin >= end or days.start_s >= days.end_s:
        raise ConfigInvalid(f"no day lies between --from {begin.isoformat()} and --to {end.isoformat()}")
    return days


def written_since_ms(days: Days, settings: Settings) -> int:
    """What was written before adds nothing to the days: events are dated ahead by the tolerance at most."""
    return int((days.start_s - settings.future_tolerance_s - CLOCKS_S) * 1000)


def refuse_expired(days: Days, spans: Iterable[Span], settings: Settings, now_s: float) -> None:
    """Refuse days of which not every outcome is in the logs, or which the aggregates no longer keep.

    Raises:
        ConfigInvalid: says which day can be the first.
    """
    kept_s = now_s - settings.retention_day_s - DAY_S
    if days.start_s <= kept_s:
        raise ConfigInvalid(_too_early(days, kept_s, "aggregates are kept for POLYVOX_RETENTION_DAY_S"))
    for span in spans:
        if span.begin == 0:
            continue
        gone_s = math.inf if span.oldest_ms is None else span.oldest_ms / 1000
        if math.isinf(gone_s):
            raise ConfigInvalid(
                f"{span.topic}[{span.partition}] has lost its {span.begin} outcomes to the topic's retention, and has "
                "none that would tell since when: nothing can be rebuilt; lengthen its retention"
            )
        gone_s += settings.future_tolerance_s + CLOCKS_S
        if days.start_s <= gone_s:
            where = f"{span.topic}[{span.partition}] has lost its first {span.begin} outcomes to the topic's retention"
            raise ConfigInvalid(_too_early(days, gone_s, where))


def _too_early(days: Days, gone_s: float, why: str) -> str:
    first = Days.around(gone_s, gone_s).start_s + DAY_S
    return f"{_day(days.start_s)} cannot be rebuilt, {why}: --from can be {_day(first)} at the earliest"


def _day(start_s: float) -> str:
    return datetime.fromtimestamp(start_s, UTC).date().isoformat()


def check_places(shard: str, positions: Mapping[Place, int], spans: Mapping[Place, Span]) -> None:
    """Refuse positions that the logs cannot explain: what was counted up to there cannot be read again.

    Raises:
        ConfigInvalid: outcomes stand in topics that are not configured.
        PositionLost: a position lies outside of its log.
    """
    for place, position in positions.items():
        span = spans.get(place)
        if span is None:
            raise ConfigInvalid(
                f"outcomes of {shard} were read from {place[0]}[{place[1]}], which these settings do not name: "
                "look at POLYVOX_ENRICHED_TOPIC and POLYVOX_DEAD_LETTERS_TOPIC"
            )
        if not span.begin <= position <= span.end:
            raise PositionLost(
                f"{place[0]}[{place[1]}]: Redis has read up to {position}, the log holds {span.begin} to {span.end}: "
                "the topic was recreated or cut off; see `polyvox verify`"
            )
