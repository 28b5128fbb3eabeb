"""Simulated windows: posts of some languages whose sentiment drops in one of them at some time."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field

import numpy as np

from worker.alert_event import WindowCompleteness
from worker.alerts.windows import WindowRead
from worker.opinion.cells import Cell
from worker.opinion.index.correction import Confusions
from worker.opinion.index.tally import Tally
from worker.opinion.shifts.limits import Limits
from worker.opinion.shifts.words import Key, Span

WIDTH_S = 300
START_S = 1_700_000_100 // WIDTH_S * WIDTH_S
TOPIC = "medtop:04000000"
USUAL, DROPPED = (0.25, 0.45, 0.30), (0.60, 0.30, 0.10)
COMPLETE = WindowCompleteness(received=100, analysed=100, abstained=0, dead_lettered=0, too_late=0, share=1.0)
AS_THEY_ARE = Confusions.of([("", "social", ((1000, 0, 0, 0), (0, 1000, 0, 0), (0, 0, 1000, 0)), True)])
LIMITS = Limits(window_s=WIDTH_S, warm_up_s=40 * WIDTH_S, cool_down_s=3600)


@dataclass
class SimulatedWindows:
    """The same posts in every reading; `Windows` for the leader.

    Args:
        count: so many windows have settled.
        shift_at: the window in which "de" drops; None for never.
        posts: a window and language.
    """

    count: int
    shift_at: int | None = None
    posts: int = 60
    model_at: int | None = None
    languages: tuple[str, ...] = ("de", "en", "fr")
    incomplete: Collection[int] = ()
    made: dict[int, WindowRead] = field(default_factory=dict)

    async def settled_until_s(self, waiting: Collection[str]) -> int | None:
        return None if waiting else START_S + self.count * WIDTH_S

    async def first_s(self) -> int | None:
        return START_S

    async def read(self, span: Span) -> WindowRead:
        return self.window((span.start_s - START_S) // WIDTH_S)

    async def stretch(self, key: Key, span: Span) -> WindowRead:
        cells: dict[Cell, Tally] = {}
        for start_s in range(max(span.start_s, START_S), span.end_s, WIDTH_S):
            for cell, tally in self.window((start_s - START_S) // WIDTH_S).posts.items():
                cells[cell] = cells.get(cell, Tally()).plus(tally)
        return WindowRead(span=span, posts=cells, entities={}, completeness=COMPLETE)

    def window(self, number: int) -> WindowRead:
        """Made once, from a seed of its own."""
        if number not in self.made:
            random = np.random.default_rng(1000 + number)
            dropped = self.shift_at is not None and number >= self.shift_at
            model = "b" if self.model_at is not None and number >= self.model_at else "a"
            cells = {}
            for language in self.languages:
                shares = DROPPED if dropped and language == "de" else USUAL
                counts = [float(count) for count in random.multinomial(self.posts, shares)]
                cells[Cell("social", language, TOPIC, model)] = Tally(*counts, 0.0, float(self.posts))
            start_s = START_S + number * WIDTH_S
            share = 0.5 if number in self.incomplete else 1.0
            self.made[number] = WindowRead(
                span=Span(start_s, start_s + WIDTH_S),
                posts=cells,
                entities={},
                completeness=complete_to(share),
            )
        return self.made[number]


def complete_to(share: float) -> WindowCompleteness:
    return WindowCompleteness(
        received=100, analysed=round(100 * share), abstained=0, dead_lettered=0, too_late=0, share=share
    )
