"""Positions that a log does not hold."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.errors import PositionLost
from worker.stream.positions import GROUP, REDIS, Keeper, refuse_expired
from worker.stream.records import TopicPartition

PLACE = TopicPartition("posts", 0)


@given(st.sampled_from([GROUP, REDIS]), st.integers(0, 50), st.integers(0, 50))
def test_positions_that_the_log_still_holds_are_taken(keeper: Keeper, position: int, begin: int) -> None:
    """Exactly those from the oldest offset on; the error counts the records that nobody has read."""
    if position >= begin:
        refuse_expired(keeper, PLACE, position, begin)
        return
    with pytest.raises(PositionLost, match=f" {begin - position} records expired unread"):
        refuse_expired(keeper, PLACE, position, begin)
