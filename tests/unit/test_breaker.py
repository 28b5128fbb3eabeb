"""The circuit breaker: one outage is one failure, and one call at a time asks whether it is over."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from worker.stream.breaker import PROBE_LIMIT_S, Breaker
from worker.timing import ManualClock


def test_an_outage_that_fails_many_calls_counts_once() -> None:
    """Calls that were under way when the circuit opened fail late, and open it no second time."""
    breaker = Breaker(ManualClock())
    under_way = [breaker.permit() for _ in range(3)]
    for permit in under_way:
        assert permit is not None
        breaker.failed(permit)
    assert breaker.outages == 1
    probe = breaker.permit()
    assert probe is not None
    breaker.succeeded(probe)
    breaker.failed(under_way[0])  # type: ignore[arg-type]  # checked above
    assert (breaker.state, breaker.outages) == ("closed", 1)


def test_one_probe_at_a_time_and_the_first_at_once() -> None:
    """An open circuit lets one call through at once, and no other before its result."""
    breaker = Breaker(ManualClock())
    breaker.failed(breaker.permit() or 0)
    assert breaker.state == "half-open"
    probe = breaker.permit()
    assert probe is not None
    assert breaker.permit() is None
    breaker.succeeded(probe)
    assert breaker.state == "closed"
    assert breaker.permit() is not None


@given(st.lists(st.sampled_from(["fail", "pass", "wait"]), max_size=60))
def test_no_call_goes_out_during_a_pause(events: list[str]) -> None:
    """Whatever happened before: permits only when closed or half-open, and no pause is longer than its limit."""
    clock = ManualClock()
    breaker = Breaker(clock)
    for event in events:
        assert breaker.pause_s() <= PROBE_LIMIT_S
        if event == "wait":
            clock.advance(breaker.pause_s())
            continue
        state, permit = breaker.state, breaker.permit()
        assert (permit is None) == (state == "open")
        if permit is None:
            continue
        if event == "fail":
            breaker.failed(permit)
        else:
            breaker.succeeded(permit)
            assert breaker.state == "closed"
