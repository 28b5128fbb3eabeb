"""Posts sent at a given rate, and when each was seen in `enriched`: latency and bursts."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition

from worker.errors import PolyvoxError

TICK_S = 0.005
SILENCE_S = 60.0
Records = Iterator[tuple[str, bytes, bytes]]
"""(topic, key, value); keys are all different."""


@dataclass(frozen=True)
class Stretch:
    """So many posts a second for so long."""

    posts_per_s: float
    seconds: float


@dataclass
class Seen:
    """When each post was sent and when a consumer first had its outcome, Unix seconds by key.

    Attributes:
        repeats: outcomes beyond the first of a post.
        ends_s: when each stretch ended.
        drained_s: when, after the last stretch, no more posts waited than come in a second.
    """

    sent_s: dict[bytes, float] = field(default_factory=dict)
    seen_s: dict[bytes, float] = field(default_factory=dict)
    repeats: int = 0
    ends_s: list[float] = field(default_factory=list)
    drained_s: float = 0.0

    @property
    def waiting(self) -> int:
        """Posts sent and not seen."""
        return len(self.sent_s) - len(self.seen_s)


async def send(brokers: str, records: Records, stretches: Sequence[Stretch], seen: Seen) -> None:
    """Send at the rates given; then at the first rate until the backlog is worked off."""
    async with AIOKafkaProducer(bootstrap_servers=brokers, acks="all") as producer:
        pending = []

        async def at(rate: Stretch, ended: bool) -> None:
            started_s, sent = time.time(), 0
            while (passed_s := time.time() - started_s) < rate.seconds and not (ended and seen.waiting <= normal):
                for _ in range(int(passed_s * rate.posts_per_s) - sent):
                    topic, key, value = next(records)
                    seen.sent_s[key] = time.time()
                    pending.append(await producer.send(topic, value, key))
                    sent += 1
                await asyncio.sleep(TICK_S)

        normal = max(1.0, stretches[0].posts_per_s)
        for stretch in stretches:
            await at(stretch, ended=False)
            seen.ends_s.append(time.time())
        await at(Stretch(stretches[0].posts_per_s, SILENCE_S * 5), ended=True)
        seen.drained_s = time.time()
        await asyncio.gather(*pending)


async def watch(brokers: str, topic: str, partitions: int, seen: Seen, sending: asyncio.Task[None]) -> None:
    """Note what arrives until everything that was sent has; gives up after a silence, and what is missing is lost."""
    async with AIOKafkaConsumer(bootstrap_servers=brokers) as consumer:
        consumer.assign([TopicPartition(topic, number) for number in range(partitions)])
        await consumer.seek_to_beginning()
        last_s = time.time()
        while not (sending.done() and seen.waiting == 0) and time.time() - last_s < SILENCE_S:
            polled = await consumer.getmany(timeout_ms=200)
            now_s = time.time()
            for record in (record for records in polled.values() for record in records):
                last_s = now_s
                if record.key in seen.seen_s:
                    seen.repeats += 1
                else:
                    seen.seen_s[record.key] = now_s


async def run_traffic(brokers: str, records: Records, stretches: Sequence[Stretch], output: tuple[str, int]) -> Seen:
    """Send, and watch `output`, a topic and its partitions, until all outcomes are there or none come any more.

    Raises:
        PolyvoxError: the posts could not be sent.
    """
    seen = Seen()
    sending = asyncio.create_task(send(brokers, records, stretches, seen))
    await watch(brokers, *output, seen, sending)
    if not sending.done():
        sending.cancel()
        raise PolyvoxError(f"no outcome for {SILENCE_S:.0f} s, {seen.waiting} posts wait: see the worker's log")
    await sending
    return seen
