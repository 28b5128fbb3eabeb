"""A key's detector: quiet on noise, quick on shifts, silent on what it cannot judge."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.opinion_index import MODEL, observation
from worker.opinion.shifts.bank import Bank, Window, advance
from worker.opinion.shifts.detector import acknowledge, step
from worker.opinion.shifts.judge import judge
from worker.opinion.shifts.limits import DAY_S, Limits
from worker.opinion.shifts.pack import packed, unpack
from worker.opinion.shifts.rates import false_per_day
from worker.opinion.shifts.season import TERMS
from worker.opinion.shifts.state import State
from worker.opinion.shifts.words import Observation, Signal

LIMITS = Limits(warm_up_s=DAY_S // 2)
DAY = 288
VARIANCE = 0.02


def noise(windows: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(0, VARIANCE**0.5, windows)


def run(state: State, values: Iterable[float], first: int = 0) -> tuple[State, list[Signal]]:
    signals = []
    for at, value in enumerate(values, start=first):
        state, signal = step(state, observation(at, float(value), variance=VARIANCE), LIMITS)
        signals += [signal] if signal else []
    return state, signals


@pytest.fixture(scope="module")
def settled() -> State:
    """A week of noise."""
    return run(State(), noise(7 * DAY))[0]


@pytest.mark.parametrize(("moved", "direction"), [(-0.3, "down"), (0.3, "up"), (-0.15, "down"), (0.15, "up")])
def test_a_shift_is_found_with_its_direction_size_and_beginning(settled: State, moved: float, direction: str) -> None:
    """Within hours, the size within a half of itself, the beginning within an hour or two of the truth."""
    _, signals = run(settled, noise(60, 1) + moved, 7 * DAY)
    first = signals[0]
    assert first.direction == direction
    assert first.first
    assert not signals[1].first
    assert first.size == pytest.approx(moved, rel=0.5)
    assert abs(first.since_s - 7 * DAY * 300) < 7200
    assert first.false_per_day <= LIMITS.false_signals_per_key_day
    assert min(one.false_per_day for one in signals) < first.false_per_day / 10


def test_it_reads_the_value_without_bounds(settled: State) -> None:
    """Values that were brought into bounds are biased in small windows: a detector would learn that as a level."""
    seen = observation(7 * DAY, 0.5)
    assert seen.point is not None
    bounded = msgspec.structs.replace(seen.point, net=msgspec.structs.replace(seen.point.net, value=0.1))
    assert step(settled, msgspec.structs.replace(seen, point=bounded), LIMITS) == step(settled, seen, LIMITS)


def test_it_warms_up_before_it_speaks() -> None:
    """No signal in the warm-up, whatever happens, and the state says that it is one."""
    state, signals = run(State(), [0.0] * (DAY // 4) + [-0.9] * (DAY // 4))
    assert signals == []
    assert state.phase == "warming_up"
    assert state.annotations == ("warming_up",)
    assert run(state, [-0.9], DAY // 2)[0].phase == "watching"


@settings(max_examples=10, deadline=None)
@given(seed=st.integers(0, 1000), moved=st.floats(-0.4, 0.4))
def test_drops_and_rises_are_treated_alike(settled: State, seed: int, moved: float) -> None:
    """A mirrored series gives mirrored signals."""
    mirrored = msgspec.structs.replace(
        settled,
        mean=tuple(-value for value in settled.mean),
        **{
            name: getattr(settled, name)[len(settled.sums) // 2 :] + getattr(settled, name)[: len(settled.sums) // 2]
            for name in ("sums", "since_s", "information")
        },
        excess=tuple(
            -value for value in settled.excess[len(settled.sums) // 2 :] + settled.excess[: len(settled.sums) // 2]
        ),
    )
    values = noise(30, seed) + moved
    one, other = run(settled, values, 7 * DAY)[1], run(mirrored, -values, 7 * DAY)[1]
    assert [s.size for s in one] == pytest.approx([-s.size for s in other])
    assert [s.since_s for s in one] == [s.since_s for s in other]
    assert not {(s.direction, s.span) for s in one} & {(s.direction, s.span) for s in other}


def test_a_window_is_read_once(settled: State) -> None:
    """Reading again changes nothing and says nothing."""
    seen = observation(7 * DAY, -1.0)
    state, _ = step(settled, seen, LIMITS)
    assert step(state, seen, LIMITS) == (state, None)


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"completeness": 0.5}, "incomplete"),
        ({"outage": True}, "outage"),
        ({"model_versions": (MODEL, "other")}, "model_changed"),
        ({"point": None}, "too_few_posts"),
    ],
)
def test_what_cannot_be_judged_is_left_out_and_says_why(settled: State, change: dict[str, object], why: str) -> None:
    """An extreme value in such a window leaves evidence and baseline as they were."""
    broken = msgspec.structs.replace(observation(7 * DAY, -1.0, variance=0.0001), **change)
    state, signal = step(settled, broken, LIMITS)
    assert signal is None
    assert state.annotations == (why,)
    assert (state.sums, state.mean, state.observed_s) == (settled.sums, settled.mean, settled.observed_s)


def test_another_model_warms_up_again_and_does_not_alert(settled: State) -> None:
    """A new model that reads everything 40 points lower is a new epoch with a new level, and later quiet."""
    state = settled
    for at, value in enumerate(noise(DAY, 2) - 0.4, start=7 * DAY):
        state, signal = step(state, observation(at, float(value), model=("new",)), LIMITS)
        assert signal is None
    assert state.epoch == settled.epoch + 1
    assert state.phase == "watching"
    assert state.mean[0] == pytest.approx(-0.4, abs=0.05)


def test_after_an_alert_it_starts_from_the_new_level_and_cools_down(settled: State) -> None:
    """The lasting shift is not reported again; a second shift is, once the cool-down is over."""
    state, signals = run(settled, noise(40, 3) - 0.3, 7 * DAY)
    level = state.mean[0]
    state = acknowledge(state, signals[-1], LIMITS)
    assert state.mean[0] == pytest.approx(level + signals[-1].size)
    assert (state.phase, state.epoch) == ("cooling_down", settled.epoch + 1)
    state, quiet = run(state, noise(DAY, 4) - 0.3, 7 * DAY + 40)
    assert quiet == []
    assert state.phase == "watching"
    _, back = run(state, noise(40, 5), 8 * DAY + 40)
    assert back[0].direction == "up"


def test_a_signal_holds_until_the_evidence_has_gone(settled: State) -> None:
    """Hysteresis: evidence a little under the limit neither ends a signal nor begins one."""
    state, _ = run(settled, noise(12, 6) - 0.3, 7 * DAY)
    assert state.phase == "signalled"
    state, held = run(state, [0.0] * 3, 7 * DAY + 12)
    assert not any(signal.first for signal in held)
    state, _ = run(state, [0.0] * 200, 7 * DAY + 15)
    assert state.phase == "watching"


def test_a_daily_season_is_learned() -> None:
    """A wave of 10 points every day is no shift, once a few days were seen; without season terms it would be."""
    at = np.arange(6 * DAY)
    values = noise(6 * DAY, 7) + 0.1 * np.sin(2 * np.pi * at / DAY)
    assert run(State(), values)[1] == []


@given(windows=st.integers(0, 40), seed=st.integers(0, 99))
@settings(max_examples=15, deadline=None)
def test_a_state_survives_storage(windows: int, seed: int) -> None:
    """As JSON and as msgpack, at any time; unpacked and packed it is the same, and it stays small."""
    state, _ = run(State(), noise(windows, seed))
    assert msgspec.json.decode(msgspec.json.encode(state), type=State) == state
    assert msgspec.msgpack.decode(msgspec.msgpack.encode(state), type=State) == state
    assert len(msgspec.msgpack.encode(state)) < 4096
    if windows:
        assert msgspec.structs.replace(state, **packed(unpack(state))) == state


@settings(max_examples=5, deadline=None)
@given(seed=st.integers(0, 99))
def test_many_keys_at_once_are_each_key_alone(seed: int) -> None:
    """The bench's arrays and the worker's single keys are one detector."""
    values = np.stack([noise(DAY, seed), noise(DAY, seed + 1) - np.repeat([0, 0.4], DAY // 2)])
    bank, held = Bank.new(2), np.zeros(2, dtype=bool)
    for at in range(DAY):
        window = Window(at * 300, values[:, at], np.full(2, VARIANCE), np.ones(2, dtype=bool))
        advance(bank, window, LIMITS)
        held = judge(bank, held, bank.observed_s <= LIMITS.warm_up_s, LIMITS).held
    for key in range(2):
        state, _ = run(State(), values[key])
        assert bank.sums[key].ravel() == pytest.approx(state.sums, abs=1e-9)
        assert bank.mean[key] == pytest.approx(state.mean, abs=1e-9)
        assert held[key] == (state.phase == "signalled")


def test_residuals_are_independent_and_of_variance_one_from_the_first_day() -> None:
    """A short history is paid for in the prediction's variance: the dispersion stays at 1."""
    random = np.random.default_rng(8)
    bank, squares = Bank.new(400), []
    for at in range(DAY):
        values = random.normal(0.2, VARIANCE**0.5, 400)
        before = bank.excess.copy()
        bank.sums[:] = 0
        window = Window(at * 300, values, np.full(400, VARIANCE), np.ones(400, dtype=bool))
        advance(bank, window, LIMITS)
        residual = bank.excess[:, 0, 0] / bank.information[:, 0, 0]
        squares.append(residual**2 * bank.information[:, 0, 0])
        assert before.shape == bank.excess.shape
    assert np.mean(squares[20:]) == pytest.approx(1, abs=0.03)


def test_noise_beyond_what_posts_explain_is_learned() -> None:
    """Windows twice as noisy as their posts say: after the warm-up hardly more signals than without."""
    random, keys = np.random.default_rng(9), 150
    signals = []
    for times in (1.0, 2.0):
        bank, held, first = Bank.new(keys), np.zeros(keys, dtype=bool), 0
        for at in range(8 * DAY):
            values = random.normal(0, (times * VARIANCE) ** 0.5, keys)
            advance(bank, Window(at * 300, values, np.full(keys, VARIANCE), np.ones(keys, dtype=bool)), Limits())
            verdict = judge(bank, held, bank.observed_s <= Limits().warm_up_s, Limits())
            held, first = verdict.held, first + int(verdict.first.sum())
        signals.append(first)
        assert bank.dispersion.mean() == pytest.approx(times, abs=0.2)
    assert signals[0] < 50
    assert signals[1] < 2 * signals[0] + 15


def test_the_rate_falls_with_evidence_and_counts_windows_per_day() -> None:
    """Shorter windows of the same information give as many more chances a day."""
    sums = np.linspace(0, 20, 50)[:, None, None] * np.ones((1, 2, 3))
    rates = false_per_day(sums, np.full(50, 40.0), 300)
    assert (np.diff(rates, axis=0) <= 0).all()
    assert false_per_day(sums, np.full(50, 40.0), 600)[30] == pytest.approx(rates[30] / 2)


def test_a_new_detector_is_an_empty_state() -> None:
    """`State()` needs no preparation."""
    assert unpack(State()).mean.shape == (1, TERMS)
    state, signal = step(State(), observation(5, 0.1), LIMITS)
    assert signal is None
    assert isinstance(observation(5, 0.1), Observation)
    assert state.read_until_s == 1800
