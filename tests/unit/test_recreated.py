"""A topic that was deleted and made again is another topic: it is refused, at the start and while a worker runs."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.errors import BrokerUnavailable, ConfigInvalid, PolyvoxError, PositionLost
from worker.stream.recreated import refuse_recreated, watch_ids

OLD = {"posts.social": "one", "posts.financial": "two"}
NEW = OLD | {"posts.social": "three"}


@given(
    st.dictionaries(st.sampled_from("abc"), st.sampled_from("12")),
    st.dictionaries(st.sampled_from("abc"), st.sampled_from("12")),
)
def test_a_topic_is_refused_when_both_ids_are_known_and_differ(known: dict[str, str], found: dict[str, str]) -> None:
    """A topic that is new, or not there now, has nothing to be compared with."""
    refused = False
    try:
        refuse_recreated(known, found)
    except PositionLost:
        refused = True
    assert refused == any(known[topic] != found[topic] for topic in known.keys() & found.keys())


def test_the_error_names_the_topic_and_the_way_on() -> None:
    """Whoever reads it knows which topic, and what to do."""
    with pytest.raises(
        PositionLost, match=r"topic posts\.social was.*--reset-offsets.*POLYVOX_RECREATED_TOPICS=accept"
    ):
        refuse_recreated(OLD, NEW)


def test_a_running_worker_ends_and_what_is_not_seen_is_waited_out() -> None:
    """Brokers that are away, and a topic that is away for a moment, are no reason to end; another id is."""
    answers: list[Mapping[str, str] | PolyvoxError] = [
        OLD,
        BrokerUnavailable("away"),
        ConfigInvalid("no topic"),
        OLD,
        NEW,
    ]

    async def look_up() -> Mapping[str, str]:
        answer = answers.pop(0)
        if isinstance(answer, PolyvoxError):
            raise answer
        return answer

    with pytest.raises(PositionLost):
        asyncio.run(watch_ids(OLD, look_up, every_s=0.0))
    assert not answers
