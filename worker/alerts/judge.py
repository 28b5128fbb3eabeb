"""All keys in one window: what each detector says, and which of it is worth an alert. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import reduce

import msgspec

from worker.alerts.keys import tallies_by_key
from worker.alerts.watched import KeyWindow, Watched, Watcher
from worker.alerts.windows import WindowRead
from worker.opinion.cells import Cell
from worker.opinion.index.tally import Tally
from worker.opinion.shifts.control import select
from worker.opinion.shifts.detector import acknowledge
from worker.opinion.shifts.words import Key, Signal


@dataclass(frozen=True)
class Judged:
    """What a window came to.

    Args:
        states: of the keys that changed.
        alerts: the signals that become alerts.
        quiet: how many signals did not, being too weak among so many keys.
    """

    states: dict[Key, Watched]
    alerts: list[Signal]
    quiet: int
    keys: int


def judge(watcher: Watcher, states: Mapping[Key, Watched], window: WindowRead) -> Judged:
    """Let every key's detector read a window, and choose among their signals.

    Keys with too few posts are not read, which keeps seldom ones out of the store, but while their detector holds a
    signal. The states are those after the alerts.
    """
    found = _large_enough(tallies_by_key(window.posts, window.entities), watcher.limits.minimum_posts)
    holding = {key for key, watched in states.items() if watched.state.phase == "signalled"}
    after: dict[Key, Watched] = {}
    signals: list[Signal] = []
    for key in sorted(found.keys() | holding):
        of_key = KeyWindow(
            span=window.span,
            tallies=found.get(key, {}),
            completeness=window.completeness.share,
            outage=window.outage,
        )
        after[key], signal = watcher.read(key, states.get(key, Watched()), of_key)
        if signal is not None:
            signals.append(signal)
    keys = len(states.keys() | after.keys())
    chosen = select(signals, keys, watcher.limits)
    for signal in chosen:
        state = acknowledge(after[signal.key].state, signal, watcher.detector_limits)
        after[signal.key] = msgspec.structs.replace(after[signal.key], state=state)
    return Judged(after, chosen, len(signals) - len(chosen), keys)


def _large_enough(found: dict[Key, dict[Cell, Tally]], minimum_posts: float) -> dict[Key, dict[Cell, Tally]]:
    """The keys with enough independent posts for their detectors to judge."""
    return {
        key: tallies
        for key, tallies in found.items()
        if reduce(Tally.plus, tallies.values(), Tally()).effective_posts >= minimum_posts
    }
