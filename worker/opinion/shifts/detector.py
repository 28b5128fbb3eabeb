"""One key's detector: `step` reads a settled window once."""

from __future__ import annotations

from worker.opinion.shifts.limits import Limits
from worker.opinion.shifts.state import State
from worker.opinion.shifts.words import Observation, Signal


def step(state: State, observation: Observation, limits: Limits) -> tuple[State, Signal | None]:
    """Read one window; the new state, and a signal while the detector holds that its key has shifted."""
    raise NotImplementedError


def acknowledge(state: State, signal: Signal, limits: Limits) -> State:
    """The state after an alert: starts anew from the level after the shift, and keeps quiet for the cool-down."""
    raise NotImplementedError
