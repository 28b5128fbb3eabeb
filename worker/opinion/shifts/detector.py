"""One key's detector: `step` reads a settled window once."""

from __future__ import annotations

import msgspec
import numpy as np

from worker.opinion.shifts.bank import SIGNS, Bank, Window, advance, restart
from worker.opinion.shifts.judge import Verdict, judge
from worker.opinion.shifts.limits import Limits
from worker.opinion.shifts.pack import packed, unpack
from worker.opinion.shifts.rates import DESIGN_SHIFTS
from worker.opinion.shifts.season import PRIOR_DEVIATIONS
from worker.opinion.shifts.state import Phase, State
from worker.opinion.shifts.words import Annotation, Observation, Signal

MOST_EMPTY = 0.5
"""A window in which strata of more weight than this are empty is no window of the key's usual mix."""


def step(state: State, observation: Observation, limits: Limits) -> tuple[State, Signal | None]:
    """Read one window; the new state, and a signal while the detector holds that its key has shifted.

    A window that was read before changes nothing. One that cannot be judged (incomplete, an outage, too few posts,
    two model versions) is left out: the state says why, and no signal is given. The first window of another model
    version begins a new epoch: the level is learned anew, the course of the week is kept.
    """
    if observation.span.start_s < state.read_until_s:
        return state, None
    state = msgspec.structs.replace(state, read_until_s=observation.span.end_s)
    why = unreadable(observation, limits)
    point = observation.point
    if why or point is None:
        return msgspec.structs.replace(state, annotations=why), None
    if observation.model_versions != state.model_versions:
        state = _another_model(state, observation.model_versions)
    bank = unpack(state)
    variance = np.array([point.sampling_variance])
    advance(
        bank,
        Window(observation.span.start_s, np.array([point.unbounded_net]), variance, np.array([True])),
        limits,
    )
    return _judged(state, bank, observation, limits)


def unreadable(observation: Observation, limits: Limits) -> tuple[Annotation, ...]:
    """Why a window is left out; empty when it is read."""
    point = observation.point
    reasons: list[tuple[bool, Annotation]] = [
        (observation.outage, "outage"),
        (observation.completeness < limits.minimum_completeness, "incomplete"),
        (len(observation.model_versions) > 1, "model_changed"),
        (point is None or point.effective_posts < limits.minimum_posts, "too_few_posts"),
        (point is not None and point.empty_weight > MOST_EMPTY, "strata_empty"),
    ]
    return tuple(reason for holds, reason in reasons if holds)


def acknowledge(state: State, signal: Signal, limits: Limits) -> State:
    """The state after an alert: a new epoch from the level after the shift, quiet for the cool-down."""
    bank = unpack(state)
    restart(bank, np.array([0]), np.array([signal.size]))
    return msgspec.structs.replace(
        state,
        **packed(bank),
        phase="cooling_down",
        epoch=state.epoch + 1,
        cool_until_s=signal.span.end_s + limits.cool_down_s,
    )


def _another_model(state: State, versions: tuple[str, ...]) -> State:
    """The state for another model version; it shifts the index by its own errors, which is no news."""
    if not state.mean:
        return msgspec.structs.replace(state, model_versions=versions)
    bank = unpack(state)
    bank.covariance[0, 0, :] = bank.covariance[0, :, 0] = 0.0
    bank.covariance[0, 0, 0] = PRIOR_DEVIATIONS[0] ** 2
    bank.sums[:] = 0.0
    return msgspec.structs.replace(
        state, **packed(bank), phase="warming_up", epoch=state.epoch + 1, model_versions=versions, level_s=0
    )


def _judged(state: State, bank: Bank, observation: Observation, limits: Limits) -> tuple[State, Signal | None]:
    """Phase, state and signal after a window was read into the bank."""
    level_s = state.level_s + limits.window_s
    warming = level_s <= limits.warm_up_s
    cooling = not warming and observation.span.end_s <= state.cool_until_s
    verdict = judge(bank, np.array([state.phase == "signalled"]), np.array([warming or cooling]), limits)
    phase: Phase = "signalled" if verdict.held[0] else "watching"
    phase = "warming_up" if warming else "cooling_down" if cooling else phase
    notes: tuple[Annotation, ...] = ("warming_up",) if warming else ()
    after = msgspec.structs.replace(state, **packed(bank), phase=phase, level_s=level_s, annotations=notes)
    return after, _signal(after, bank, observation, verdict) if verdict.held[0] else None


def _signal(state: State, bank: Bank, observation: Observation, verdict: Verdict) -> Signal:
    """What the strongest CUSUM says."""
    strongest = int(verdict.strongest[0])
    return Signal(
        key=observation.key,
        span=observation.span,
        direction="down" if SIGNS[strongest // len(DESIGN_SHIFTS)] < 0 else "up",
        since_s=int(bank.since_s.flat[strongest]),
        size=float(bank.excess.flat[strongest] / bank.information.flat[strongest]),
        false_per_day=float(verdict.false_per_day[0]),
        first=bool(verdict.first[0]),
        epoch=state.epoch,
    )
