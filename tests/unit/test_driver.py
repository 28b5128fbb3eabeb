"""Faust's consumer as the driver changes it: no record is passed over when a seek and a fetch cross."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any, NoReturn

import faust
import pytest
from faust.transport.drivers.aiokafka import AIOKafkaConsumerThread
from faust.types import TP

from worker.errors import PolyvoxError, PositionLost
from worker.stream import ending
from worker.stream.driver import Run, seeking_transport
from worker.stream.records import TopicPartition

PLACE = TP("posts", 0)


@dataclass(frozen=True)
class Consumed:
    """As aiokafka's record."""

    offset: int
    topic: str = PLACE.topic
    partition: int = PLACE.partition
    timestamp: int = 0
    timestamp_type: int = 0
    key: bytes | None = None
    value: bytes | None = b"{}"
    headers: tuple[tuple[str, bytes], ...] = ()
    checksum: int | None = None
    serialized_key_size: int = 0
    serialized_value_size: int = 2


def records(begin: int, end: int) -> dict[TP, list[Consumed]]:
    return {PLACE: [Consumed(offset) for offset in range(begin, end)]}


async def unused(*_: object) -> None:
    """What Faust would be told."""


def ends(error: PolyvoxError) -> NoReturn:
    """In place of the end of the process."""
    raise error


LOG = range(1000)
"""The offsets in the log; those of a test that does not say."""


def consumer_of(
    committed: int,
    fetches: list[Any],
    *,
    seek_during_fetch: bool = False,
    log: range = LOG,
    own: dict[TopicPartition, int | None] | None = None,
) -> Any:
    """The driver's consumer over scripted answers of the thread that talks to Kafka.

    Its seeks and commits are noted in `sought` and `noted`; `own` holds positions that are not the group's.
    """

    async def positions(_assigned: list[TopicPartition]) -> Mapping[TopicPartition, int | None]:
        return own or {}

    app = faust.App("test", broker="kafka://127.0.0.1:1", store="memory://", web_enabled=False)
    transport = seeking_transport(frozenset(tp.topic for tp in own or ()), positions, 100, ends)
    shipped = transport.Consumer

    class Scripted(shipped):  # type: ignore[misc,valid-type]  # Faust ships no types
        sought: list[int]
        noted: list[Mapping[TP, int]]

        def assignment(self) -> set[TP]:
            return {PLACE}

        async def seek_to_committed(self) -> dict[TP, int]:
            return {PLACE: committed}

        async def earliest_offsets(self, *tps: TP) -> dict[TP, int]:
            return dict.fromkeys(tps, log.start)

        async def highwaters(self, *tps: TP) -> dict[TP, int]:
            return dict.fromkeys(tps, log.stop)

        async def _commit(self, offsets: Mapping[TP, int]) -> bool:
            self.noted.append(offsets)
            return True

        async def _seek(self, partition: TP, offset: int) -> None:
            self.sought.append(offset)

        async def _wait_next_records(self, timeout: float) -> Any:  # noqa: ASYNC109 - Faust's interface
            if seek_during_fetch:
                await self.perform_seek()
            return fetches.pop(0), {PLACE}

    transport.Consumer = Scripted
    made = transport("kafka://127.0.0.1:1", app).create_consumer(
        callback=unused, on_partitions_revoked=unused, on_partitions_assigned=unused
    )
    made.sought, made.noted = [], []
    made.flow_active = True
    return made


async def passed_on(consumer: Any) -> list[Run]:
    return [message.value async for _, message in consumer.getmany(1.0)]


def test_only_a_poll_of_few_records_is_followed_by_a_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    """Records of a poll are passed on at once, however few; then others may collect, unless a backlog waits anyway."""
    monkeypatch.setattr("worker.stream.driver.LINGER_S", 3600)

    async def scenario() -> None:
        consumer = consumer_of(0, [records(0, 3), records(3, 200), {}])
        polled = consumer.getmany(1.0)
        _, first = await anext(polled)
        assert [each.offset for each in first.value.consumed] == [0, 1, 2]
        rest = asyncio.ensure_future(anext(polled, None))
        await asyncio.wait({rest}, timeout=0.05)
        assert not rest.done()
        rest.cancel()
        for passed in (197, 0):
            runs = await asyncio.wait_for(passed_on(consumer), 60)
            assert sum(len(run.consumed) for run in runs) == passed

    asyncio.run(scenario())


def offsets(runs: list[Run]) -> list[int]:
    return [record.offset for run in runs for record in run.records()]


def test_a_seek_is_done_by_the_thread_that_fetches() -> None:
    """From another thread it takes records away that a fetch is looking at, and the worker ends with a KeyError."""

    async def main() -> None:
        consumer = consumer_of(0, [])
        thread, asked = consumer._thread, []

        async def call_thread(method: Any, *arguments: Any) -> None:
            asked.append((method, *arguments))

        class Kafka:
            def seek(self, tp: TP, offset: int) -> None:
                raise AssertionError("called in the wrong thread")

        kafka = Kafka()
        thread._ensure_consumer, thread.call_thread = lambda: kafka, call_thread
        await type(consumer).__mro__[1]._seek(consumer, PLACE, 7)
        assert asked == [(kafka.seek, PLACE, 7)]

    asyncio.run(main())


def test_the_process_ends_when_the_metadata_are_no_longer_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    """Aiokafka does not notice, finds no coordinator any more, and the worker would be ready and idle."""
    ended: list[int] = []

    async def main() -> None:
        thread = consumer_of(0, [])._thread
        keeping: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        thread._ensure_consumer = lambda: SimpleNamespace(_client=SimpleNamespace(_sync_task=keeping))
        monkeypatch.setattr(AIOKafkaConsumerThread, "on_start", unused)
        monkeypatch.setattr(ending, "_exit", ended.append)
        await thread.on_start()
        keeping.set_exception(RuntimeError("the handler is closed"))
        await asyncio.sleep(0)

    asyncio.run(main())
    assert ended == [ending.EXIT_FAILED]


def test_records_are_passed_on_from_the_committed_offset() -> None:
    """In order, and an offset without a record is a gap."""

    async def main() -> None:
        consumer = consumer_of(10, [records(10, 12), records(14, 16)])
        await consumer.perform_seek()
        assert offsets(await passed_on(consumer)) == [10, 11]
        assert offsets(await passed_on(consumer)) == [14, 15]
        assert [(gap.begin, gap.end) for gap in consumer._gap[PLACE]] == [(12, 14)]

    asyncio.run(main())


def test_outcomes_before_the_sought_position_are_left_out() -> None:
    """A fetch may begin at the group's position, just before the seek to the one that Redis keeps."""

    async def main() -> None:
        consumer = consumer_of(8, [records(8, 12)], own={TopicPartition(*PLACE): 10})
        await consumer.perform_seek()
        assert offsets(await passed_on(consumer)) == [10, 11]

    asyncio.run(main())


def test_an_input_topic_that_starts_over_is_refused() -> None:
    """A record before the position: the log is another one, and what it holds would be taken for read."""

    async def main() -> None:
        consumer = consumer_of(10, [records(0, 12)])
        await consumer.perform_seek()
        with pytest.raises(PositionLost, match=r"posts\[0\]: the group has read up to 10, the log is at 0.*made again"):
            await passed_on(consumer)

    asyncio.run(main())


def test_a_fetch_from_before_a_seek_is_read_again() -> None:
    """Records of the old position are dropped; no gap is noted, and the position goes back to the sought one."""

    async def main() -> None:
        consumer = consumer_of(10, [records(136, 200)], seek_during_fetch=True)
        assert await passed_on(consumer) == []
        assert not consumer._gap[PLACE]
        assert consumer.sought == [10]

    asyncio.run(main())


@pytest.mark.parametrize(("own", "keeper"), [({}, "the group"), ({TopicPartition(*PLACE): 10}, "Redis")])
def test_a_position_that_the_log_does_not_hold_is_refused(own: dict[TopicPartition, int | None], keeper: str) -> None:
    """Below the log's start, whoever keeps it: the worker ends, and says how many records are gone."""
    with pytest.raises(PositionLost, match=rf"posts\[0\]: {keeper} has read up to 10, .* 15 records expired unread"):
        asyncio.run(consumer_of(10, [], log=range(25, 90), own=own).perform_seek())


@pytest.mark.parametrize(
    ("own", "noted"), [(40, [{PLACE: 40}]), (5, [{PLACE: 5}]), (10, []), (None, [{PLACE: 0}])], ids=str
)
def test_the_group_is_told_of_a_position_that_is_not_its_own(own: int | None, noted: list[dict[TP, int]]) -> None:
    """Reading on elsewhere than the group has committed is committed at once: nobody sees a lag that is none."""
    consumer = consumer_of(10, [], own={TopicPartition(*PLACE): own})
    asyncio.run(consumer.perform_seek())
    assert consumer.noted == noted


@pytest.mark.parametrize("event", ["stop_flow", "perform_seek"])
def test_a_run_is_not_current_after_a_rebalance_began(event: str) -> None:
    """A run that waits in a queue through a rebalance can be told, and is not admitted."""

    async def main() -> None:
        consumer = consumer_of(10, [records(10, 12)])
        await consumer.perform_seek()
        (run,) = await passed_on(consumer)
        assert run.current()
        done = getattr(consumer, event)()
        if done is not None:
            await done
        assert not run.current()

    asyncio.run(main())
