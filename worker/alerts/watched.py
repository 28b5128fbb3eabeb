"""One key under watch: first its usual mix is learned, then its detector reads window by window. Pure.

The weights of the mix are fixed from then on; its usual labels are learned further with every window that is read.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import msgspec

from worker.opinion.cells import Cell
from worker.opinion.index.correction import Confusions
from worker.opinion.index.index import index
from worker.opinion.index.standard import Standard, Stratum, by_stratum
from worker.opinion.index.tally import Tally
from worker.opinion.shifts.detector import step, unreadable
from worker.opinion.shifts.limits import Limits
from worker.opinion.shifts.state import State
from worker.opinion.shifts.words import Key, Observation, Signal, Span

LEARNED_SHARE = 0.25
"""Of the warm-up: so long the mix is learned; the detector warms up in what is left."""

KNOWN_SHARE = 0.5
"""Of a window's posts that must belong to the learned mix; with fewer, the mix has become another one."""


@dataclass(frozen=True, kw_only=True)
class KeyWindow:
    """What one settled window says of one key; `tallies` is empty when it had no posts."""

    span: Span
    tallies: Mapping[Cell, Tally]
    completeness: float = 1.0
    outage: bool = False

    @property
    def model_versions(self) -> tuple[str, ...]:
        """Those whose labels are in it."""
        return tuple(sorted({cell.model_version for cell in self.tallies}))


class Watched(msgspec.Struct, frozen=True, kw_only=True):
    """All that is remembered of a key.

    Args:
        state: of the detector.
        standard: the fixed mix; None while it is learned.
        learned: the labels found so far, while it is learned.
        learned_s: over how much event time.
        seen_s: the end of the last window with posts, Unix seconds.
    """

    state: State = State()
    standard: Standard | None = None
    learned: tuple[tuple[Stratum, Tally], ...] = ()
    learned_s: int = 0
    seen_s: int = 0


@dataclass(frozen=True)
class Watcher:
    """Reads windows of keys.

    Args:
        confusions: what the model confuses.
        limits: what is declared; of its warm-up the first part goes into learning the mix.
    """

    confusions: Confusions
    limits: Limits

    @property
    def learn_s(self) -> int:
        """How long the mix is learned."""
        return round(self.limits.warm_up_s * LEARNED_SHARE)

    @property
    def detector_limits(self) -> Limits:
        """With what is left of the warm-up."""
        return msgspec.structs.replace(self.limits, warm_up_s=self.limits.warm_up_s - self.learn_s)

    def read(self, key: Key, before: Watched, window: KeyWindow) -> tuple[Watched, Signal | None]:
        """Read one window of one key, in the order of windows, each once."""
        seen = msgspec.structs.replace(before, seen_s=window.span.end_s) if window.tallies else before
        if seen.standard is not None and window.tallies and _is_another_mix(seen.standard, window.tallies):
            seen = Watched(state=State(epoch=seen.state.epoch + 1), seen_s=seen.seen_s)
        if seen.standard is None:
            return self._learn(seen, window), None
        tallies = _main_version(window.tallies) if window.tallies else {}
        observation = Observation(
            key=key,
            span=window.span,
            point=index(tallies, seen.standard, self.confusions) if tallies else None,
            model_versions=window.model_versions,
            completeness=window.completeness,
            outage=window.outage,
        )
        state, signal = step(seen.state, observation, self.detector_limits)
        standard = seen.standard
        if not unreadable(observation, self.limits):
            standard = standard.known_better(tallies, self.limits.kept)
        return msgspec.structs.replace(seen, state=state, standard=standard), signal

    def _learn(self, before: Watched, window: KeyWindow) -> Watched:
        """Add a window to what the mix is learned from; windows that would be skipped teach nothing."""
        if not window.tallies or window.outage or window.completeness < self.limits.minimum_completeness:
            return before
        strata = dict(before.learned)
        for stratum, tally in by_stratum(window.tallies).items():
            strata[stratum] = strata.get(stratum, Tally()).plus(tally)
        learned_s = before.learned_s + window.span.end_s - window.span.start_s
        if learned_s < self.learn_s:
            return msgspec.structs.replace(before, learned=tuple(strata.items()), learned_s=learned_s)
        standard = Standard.of({_cell(stratum): tally for stratum, tally in strata.items()})
        return msgspec.structs.replace(before, standard=standard, learned=(), learned_s=learned_s)


def _cell(stratum: Stratum) -> Cell:
    return Cell(stratum.source_class, stratum.language, "", "")


def _main_version(tallies: Mapping[Cell, Tally]) -> dict[Cell, Tally]:
    """The cells of the model version with most posts: labels of different models are not corrected alike."""
    weights: dict[str, float] = {}
    for cell, tally in tallies.items():
        weights[cell.model_version] = weights.get(cell.model_version, 0.0) + tally.weight
    most = max(weights, key=lambda version: (weights[version], version))
    return {cell: tally for cell, tally in tallies.items() if cell.model_version == most}


def _is_another_mix(standard: Standard, tallies: Mapping[Cell, Tally]) -> bool:
    known = {share.stratum for share in standard.shares}
    strata = by_stratum(tallies)
    total = sum(tally.weight for tally in strata.values())
    return sum(tally.weight for stratum, tally in strata.items() if stratum in known) < KNOWN_SHARE * total
