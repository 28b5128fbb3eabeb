"""From a selected signal to what an alert is made from: spans to compare, the index in both, the parts of the shift."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from worker.opinion.cells import Cell
from worker.opinion.index.correction import Confusions
from worker.opinion.index.index import index
from worker.opinion.index.standard import Standard
from worker.opinion.index.tally import Tally
from worker.opinion.shifts.season import WEEK_S
from worker.opinion.shifts.shapley import decompose
from worker.opinion.shifts.words import Key, Shift, Signal, Span

Tallies = Mapping[Cell, Tally]


def spans(signal: Signal, observed_s: int) -> tuple[Span, Span]:
    """What to compare: the time since the shift began, and the same hours of the week before.

    Without a week of history, and for shifts that took longer than a week to be seen, it is the stretch of the same
    length right before the shift.

    Args:
        observed_s: of the detector's state.
    """
    after = Span(signal.since_s, signal.span.end_s)
    length_s = after.end_s - after.start_s
    back_s = WEEK_S if length_s <= WEEK_S <= observed_s - length_s else length_s
    return Span(after.start_s - back_s, after.end_s - back_s), after


def describe(
    signal: Signal, observed_s: int, sides: tuple[Tallies, Tallies], reading: tuple[Standard, Confusions]
) -> Shift:
    """What is known of a shift without its contrasts, related keys, completeness and annotations.

    Args:
        sides: the tallies of the spans before and after, see `spans`; of the key's cells.
        reading: the standard of the key and the confusions of its model.

    Raises:
        ValueError: no posts in one of the spans, or none that the standard knows.
    """
    points = [index(side, *reading) for side in sides]
    if points[0] is None or points[1] is None:
        raise ValueError(
            f"a shift of {signal.key.values} has no posts before or after it in the strata of its standard"
        )
    moved, contributions = decompose(*sides, reading[1])
    before_span, after_span = spans(signal, observed_s)
    return Shift(
        key=signal.key,
        direction=signal.direction,
        span=signal.span,
        since_s=signal.since_s,
        before_span=before_span,
        after_span=after_span,
        before=points[0],
        after=points[1],
        moved=moved,
        contributions=contributions,
        model_versions=tuple(sorted({cell.model_version for side in sides for cell in side})),
        false_per_day=signal.false_per_day,
        epoch=signal.epoch,
    )


def related(signal: Signal, chosen: Sequence[Signal]) -> tuple[Key, ...]:
    """The keys of another kind, selected in the same window and direction: they may hold the same posts."""
    return tuple(
        other.key for other in chosen if other.key.kind != signal.key.kind and other.direction == signal.direction
    )
