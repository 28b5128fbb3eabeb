"""The words of shifts: keys, what a detector sees, what it says, and what an alert is made from."""

from __future__ import annotations

from typing import Literal

import msgspec

from worker.opinion.index.point import IndexPoint

KeyKind = Literal["language_topic", "entity", "source_class"]
Direction = Literal["up", "down"]
Factor = Literal["language_mix", "source_mix", "topic_mix", "sentiment"]
Annotation = Literal["incomplete", "outage", "too_few_posts", "strata_empty", "model_changed", "warming_up"]


class Key(msgspec.Struct, frozen=True, order=True):
    """What one detector watches.

    Args:
        values: (language, topic), (entity,) or (source class,).
    """

    kind: KeyKind
    values: tuple[str, ...]


class Span(msgspec.Struct, frozen=True, order=True):
    """A stretch of event time, Unix seconds; `end_s` is the first second after it."""

    start_s: int
    end_s: int


class Observation(msgspec.Struct, frozen=True, kw_only=True):
    """One settled window of one key, as it is read once.

    Args:
        point: None for a window without posts.
        model_versions: of the posts in the window, sorted.
        completeness: analysed posts among the received ones, 0 to 1.
        outage: some part of the path was down during the window.
    """

    key: Key
    span: Span
    point: IndexPoint | None
    model_versions: tuple[str, ...]
    completeness: float = 1.0
    outage: bool = False


class Signal(msgspec.Struct, frozen=True, kw_only=True):
    """A detector holds that its key has shifted. Given in each window while it holds so, for the control to judge.

    Args:
        span: the window in which it was read.
        since_s: when the shift began, as estimated; Unix seconds.
        size: how far the index has moved, as estimated, -2 to 2.
        false_per_day: how often a day one such key alone would say so of chance alone; less is stronger.
        first: False while an earlier signal of the same shift still holds.
        epoch: how often the detector has started anew; with key, direction and since_s it names the shift.
    """

    key: Key
    span: Span
    direction: Direction
    since_s: int
    size: float
    false_per_day: float
    first: bool
    epoch: int


class Contribution(msgspec.Struct, frozen=True):
    """What one factor adds to a shift, in the units of the index."""

    factor: Factor
    value: float


class Contrast(msgspec.Struct, frozen=True):
    """A term or entity that tells the time after a shift from the time before.

    Args:
        z: log-odds ratio in standard errors; positive: more frequent after.
    """

    term: str
    z: float
    before: int
    after: int


class Shift(msgspec.Struct, frozen=True, kw_only=True):
    """What an alert is made from.

    Args:
        span: the window in which the alert was decided.
        since_s: when the shift began, as estimated.
        before, after: the index over the spans of the same names.
        moved: the shift of the net sentiment that people see: corrected, with each side's own mix; the sum of
            `contributions`.
        related: keys of other kinds that were selected in the same window and direction: they may share its posts.
        model_versions: of the posts of both spans.
        completeness: of the span after.
    """

    key: Key
    direction: Direction
    span: Span
    since_s: int
    before_span: Span
    after_span: Span
    before: IndexPoint
    after: IndexPoint
    moved: float
    contributions: tuple[Contribution, ...]
    contrasts: tuple[Contrast, ...] = ()
    related: tuple[Key, ...] = ()
    model_versions: tuple[str, ...] = ()
    completeness: float = 1.0
    annotations: tuple[Annotation, ...] = ()
    false_per_day: float = 0.0
    epoch: int = 0
