"""Limits on dead letters: a deployment that fails everywhere stops, ordinary poison never stops anything."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.errors import TooManyDeadLetters
from worker.events import ORIGIN_HEADER
from worker.settings import load_settings
from worker.stream.limits import DeadLetterLimits, Tally
from worker.stream.records import OutputRecord

SETTINGS = load_settings()
GOOD = OutputRecord("enriched", None, b"{}", [])
DEAD = OutputRecord("dead", None, b"{}", [("pv-stage", b"infer"), ("pv-reason", b"inference_failed")])
DEAD_AGAIN = OutputRecord("dead", None, b"{}", [*DEAD.headers, (ORIGIN_HEADER, b"{}")])


def limits() -> DeadLetterLimits:
    return DeadLetterLimits.of(SETTINGS)


@given(st.lists(st.booleans(), max_size=60), st.integers(1, 12), st.sampled_from([0.2, 0.5, 1.0]), st.integers(1, 8))
def test_it_is_exact(deads: list[bool], window: int, share: float, consecutive: int) -> None:
    """Over any course: the first record that exceeds a limit is told, counted from scratch at each."""
    tally = Tally(window, share, consecutive)
    for count, dead in enumerate(deads, start=1):
        recent = deads[max(0, count - window) : count]
        in_a_row = next((back for back in range(count) if not deads[count - 1 - back]), count)
        expected = in_a_row > consecutive or (len(recent) == window and sum(recent) / window > share)
        assert (tally.add(dead) is not None) == expected


def test_one_percent_of_poison_never_ends_the_worker() -> None:
    """Two hundred thousand records, one in a hundred bad, at random and in clumps of 100: the defaults allow it."""
    chance = random.Random(1)
    for pattern in ([chance.random() < 0.01 for _ in range(200_000)], ([True] * 100 + [False] * 9_900) * 20):
        tally = Tally(SETTINGS.dead_letter_window, SETTINGS.dead_letter_max_share, SETTINGS.dead_letter_max_consecutive)
        assert not any(map(tally.add, pattern))


def test_a_deployment_that_fails_everywhere_ends_before_it_publishes_more() -> None:
    """Every record a dead letter: as many as the limit are published, the next batch is refused, and says why."""
    checked = limits()
    checked.check([DEAD] * SETTINGS.dead_letter_max_consecutive, "dead")
    with pytest.raises(
        TooManyDeadLetters, match=r"501 dead letters in a row.*infer: inference_failed.*raise the limit"
    ):
        checked.check([DEAD, GOOD], "dead")


def test_a_deployment_that_fails_for_most_ends_as_well() -> None:
    """Three of four records dead: no streak, but the share over a full window tells."""
    checked, quarter = limits(), [GOOD, DEAD, DEAD, DEAD]
    checked.check(quarter * (SETTINGS.dead_letter_window // 4 - 1), "dead")
    with pytest.raises(TooManyDeadLetters, match="of the last 1000 records"):
        checked.check(quarter, "dead")


def test_requeued_records_do_not_count() -> None:
    """Letters that are requeued and fail again, all of them: nothing new is wrong."""
    limits().check([DEAD_AGAIN] * 5000, "dead")
