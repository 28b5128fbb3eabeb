"""The worker's detectors over all keys of a world at once, with or without the control that makes alerts."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from bench.shifts.world import WINDOW_S, Learned
from worker.opinion.index.correction import Floats
from worker.opinion.index.weighed import known_better, weigh
from worker.opinion.shifts.bank import Bank, Window, advance, restart
from worker.opinion.shifts.control import chosen_of
from worker.opinion.shifts.judge import Flags, Verdict, judge
from worker.opinion.shifts.limits import Limits
from worker.opinion.shifts.rates import DESIGN_SHIFTS


@dataclass
class Watch:
    """Detectors of all keys of a world.

    Args:
        alerts: where alerts are noted as (window, keys) ; None leaves the control out.
    """

    learned: Learned
    limits: Limits
    alerts: list[tuple[int, list[int]]] | None = None
    bank: Bank = field(init=False)
    held: Flags = field(init=False)
    cool_until: Floats = field(init=False)

    def __post_init__(self) -> None:
        keys = len(self.learned.posts)
        self.bank, self.held, self.cool_until = Bank.new(keys), np.zeros(keys, dtype=bool), np.zeros(keys)

    def read(self, window: int, labels: Floats) -> Verdict:
        """One window of all keys; labels (keys, strata, 4) of independent posts."""
        posts = labels.sum(axis=-1)
        weighed = weigh(labels, posts, self.learned.mix)
        enough = posts.sum(axis=-1) >= self.limits.minimum_posts
        start_s = window * WINDOW_S
        advance(self.bank, Window(start_s, weighed.value[:, 0], weighed.variance[:, 0], enough), self.limits)
        self._learn(labels, enough)
        quiet = (self.bank.observed_s <= self.limits.warm_up_s) | (start_s + WINDOW_S <= self.cool_until)
        verdict = judge(self.bank, self.held, quiet, self.limits)
        self.held = verdict.held
        if self.alerts is not None and verdict.held.any():
            self._control(window, verdict)
        return verdict

    def _learn(self, labels: Floats, read: Flags) -> None:
        """The usual labels of keys whose window was read; the weights stay."""
        mix = self.learned.mix
        usual, posts = known_better(mix.usual, self.learned.posts, labels, self.limits.kept)
        self.learned = Learned(
            mix._replace(usual=np.where(read[:, None, None], usual, mix.usual)),
            np.where(read[:, None], posts, self.learned.posts),
        )

    def _control(self, window: int, verdict: Verdict) -> None:
        held = np.flatnonzero(verdict.held)
        ordered = held[np.argsort(verdict.false_per_day[held], kind="stable")]
        chosen = ordered[: chosen_of(verdict.false_per_day[ordered].tolist(), len(self.held), self.limits)]
        if not len(chosen):
            return
        assert self.alerts is not None
        self.alerts.append((window, chosen.tolist()))
        side, design = np.divmod(verdict.strongest[chosen], len(DESIGN_SHIFTS))
        size = self.bank.excess[chosen, side, design] / self.bank.information[chosen, side, design]
        restart(self.bank, chosen, size)
        self.held[chosen] = False
        self.cool_until[chosen] = (window + 1) * WINDOW_S + self.limits.cool_down_s
