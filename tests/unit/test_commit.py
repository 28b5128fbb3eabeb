"""The commit path: nothing is acknowledged before it is in Kafka, in source order, without gaps."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.stream import commit
from worker.stream.commit import Ledger, settle


class Broker:
    """Records what was published; refuses when told to."""

    def __init__(self, refuses: bool = False) -> None:
        self.log: list[str] = []
        self.refuses = refuses

    async def publish(self, outcomes: Sequence[str]) -> None:
        if self.refuses:
            raise ConnectionError("no broker")
        self.log.extend(outcomes)


def filled(offsets: Sequence[int], finished: set[int], acked: list[int]) -> Ledger[str]:
    ledger: Ledger[str] = Ledger()
    for offset in offsets:
        slot = ledger.admit(offset, lambda offset=offset: acked.append(offset))
        slot.outcome = f"o{offset}" if offset in finished else None
    return ledger


@given(st.lists(st.integers(0, 1000), unique=True, max_size=40).map(sorted), st.data())
def test_only_the_finished_prefix_is_published_and_acknowledged(offsets: list[int], data: st.DataObject) -> None:
    """Whatever order outcomes come in, a partition publishes and acknowledges its finished prefix, in order."""
    finished = data.draw(st.sets(st.sampled_from(offsets)) if offsets else st.just(set()))
    acked: list[int] = []
    broker = Broker()
    ledger = filled(offsets, finished, acked)
    prefix = []
    for offset in offsets:
        if offset not in finished:
            break
        prefix.append(offset)
    assert asyncio.run(settle(ledger, broker.publish)) == len(prefix)
    assert acked == prefix
    assert broker.log == [f"o{offset}" for offset in prefix]
    assert len(ledger) == len(offsets) - len(prefix)


def unacknowledged_after_refusal(module: object) -> list[int]:
    """What a commit path acknowledges although the broker refused it."""
    acked: list[int] = []
    ledger = filled([5, 6, 7], {5, 6, 7}, acked)
    with pytest.raises(ConnectionError):
        asyncio.run(module.settle(ledger, Broker(refuses=True).publish))  # type: ignore[attr-defined]
    return acked


def test_nothing_is_acknowledged_when_the_broker_refuses() -> None:
    """A failed publish leaves every offset unacknowledged, so that the records are read again."""
    assert unacknowledged_after_refusal(commit) == []


def test_mutant_ack_before_publish_is_caught() -> None:
    """With the acknowledgement moved before the publish, the check above finds lost records."""
    source = Path(commit.__file__).read_text()
    publish = "    await publish([slot.outcome for slot in prefix if slot.outcome is not None])\n"
    ack = "    for slot in prefix:\n        slot.ack()\n"
    assert source.count(publish) == 1
    assert source.count(ack) == 1
    mutant: dict[str, object] = {"__name__": "mutant"}
    exec(compile(source.replace(ack, "").replace(publish, ack + publish), "mutant", "exec"), mutant)
    module = type("Mutant", (), {"settle": staticmethod(mutant["settle"])})
    assert unacknowledged_after_refusal(module) == [5, 6, 7]


def test_a_revoked_partition_is_not_acknowledged() -> None:
    """A partition lost while its outcomes were on the way is its new owner's to acknowledge."""
    acked: list[int] = []
    ledger = filled([1, 2], {1, 2}, acked)

    async def publish(_outcomes: Sequence[str]) -> None:
        ledger.revoked = True

    assert asyncio.run(settle(ledger, publish)) == 0
    assert acked == []


def test_offsets_must_rise() -> None:
    """Two reads of one partition cannot be mixed in a ledger."""
    ledger = filled([3], set(), [])
    with pytest.raises(ValueError, match="must rise"):
        ledger.admit(3, lambda: None)
