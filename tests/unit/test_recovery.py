"""Recovery: an outage costs no record, a bad record costs no other."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

from hypothesis import given
from hypothesis import strategies as st

from worker.errors import BadRecord, InferenceRejected, InferenceUnavailable, ModelDied
from worker.stream.breaker import Breaker
from worker.stream.recovery import Recovery
from worker.timing import SystemClock


@dataclass(frozen=True)
class Item:
    event_id: str


@dataclass
class Server:
    """Answers with the event id; `poison` fails each batch it is in, `down` calls fail whatever they hold."""

    poison: frozenset[str] = frozenset()
    kills: bool = False
    down: int = 0
    outage_calls: int = 2
    deaths: int = 0
    strikes: Counter[str] = field(default_factory=Counter)
    outages: list[bool] = field(default_factory=list)

    async def infer(self, items: Sequence[Item]) -> list[str]:
        await self.canary()
        if self.poison & {item.event_id for item in items}:
            if self.kills:
                self.down = self.outage_calls
                self.deaths += 1
                raise ModelDied("not healthy") if self.down == 0 else InferenceUnavailable("connection reset")
            raise InferenceRejected("backend exception")
        return [item.event_id for item in items]

    async def canary(self) -> None:
        await asyncio.sleep(0)
        if self.down:
            self.down -= 1
            raise InferenceUnavailable("connection refused")

    async def strike(self, event_id: str) -> int:
        self.strikes[event_id] += 1
        return self.strikes[event_id]

    def recovery(self) -> Recovery[Item, str]:
        return Recovery(self.infer, self.canary, self.strike, 3, self.outages.append, Breaker(SystemClock()))


def outcome(server: Server, names: Sequence[str]) -> list[str | BadRecord]:
    return asyncio.run(server.recovery().answers([Item(name) for name in names]))


@given(st.lists(st.text(min_size=1, max_size=3), unique=True, min_size=1, max_size=12), st.data())
def test_bad_records_are_told_from_their_batch_mates(names: list[str], data: st.DataObject) -> None:
    """Exactly the poisonous records end as bad records, after three strikes each; all others are answered."""
    poison = frozenset(data.draw(st.sets(st.sampled_from(names), max_size=3)))
    server = Server(poison=poison)
    answers = outcome(server, names)
    for name, answer in zip(names, answers, strict=True):
        assert isinstance(answer, BadRecord) if name in poison else answer == name
    assert server.strikes == Counter(dict.fromkeys(poison, 3))


def test_an_outage_dead_letters_nothing() -> None:
    """While the canary fails, nothing is struck; afterwards the whole batch is answered."""
    server = Server(down=5)
    assert outcome(server, ["a", "b", "c"]) == ["a", "b", "c"]
    assert not server.strikes
    assert server.outages == [True, False]


def test_a_record_that_kills_the_server_is_isolated() -> None:
    """A record after which the server is away each time ends as the only bad record."""
    server = Server(poison=frozenset("c"), kills=True)
    answers = outcome(server, ["a", "b", "c", "d"])
    assert [answer for answer in answers if answer != answers[2]] == ["a", "b", "d"]
    assert isinstance(answers[2], BadRecord)
    assert answers[2].reason == "inference_failed"


@given(st.integers(1, 64), st.data())
def test_a_record_that_kills_the_server_does_so_three_times(count: int, data: st.DataObject) -> None:
    """Once in its batch and twice alone, whatever the size of the batch, and whether or not the canary sees it down."""
    names = [str(number) for number in range(count)]
    poison = frozenset({data.draw(st.sampled_from(names))})
    server = Server(poison=poison, kills=True, outage_calls=data.draw(st.integers(0, 2)))
    answers = outcome(server, names)
    assert server.deaths == 3
    assert [isinstance(answer, BadRecord) for answer in answers] == [name in server.poison for name in names]
    assert server.outages == [True, False] * (len(server.outages) // 2)


def test_batches_that_fail_together_wait_for_one_probe() -> None:
    """While the server is away no batch is sent to it: only the canary asks, and each batch is answered in the end."""
    server = Server(down=9)
    recovery = server.recovery()

    async def main() -> list[list[str | BadRecord]]:
        return await asyncio.gather(*(recovery.answers([Item(f"{at}")]) for at in range(6)))

    assert asyncio.run(main()) == [[f"{at}"] for at in range(6)]
    assert not server.strikes
    assert recovery.breaker.outages == 1


def test_strikes_survive_a_restart() -> None:
    """Strikes noted by an earlier worker count: the third failure overall is the last."""
    server = Server(poison=frozenset("a"), strikes=Counter({"a": 2}))
    assert isinstance(outcome(server, ["a"])[0], BadRecord)
    assert server.strikes["a"] == 3
