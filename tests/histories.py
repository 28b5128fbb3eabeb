"""Histories of one source partition for the tests of the verify room: logs, how they were applied, and the audit."""

from __future__ import annotations

import asyncio
import copy
from dataclasses import dataclass, field

from hypothesis import strategies as st

from tests.opinion_outcomes import NOW_S, SHARD, Words, clock, dead, post, settings, tombstone
from worker.events import ORIGIN_HEADER, encode, encode_origin, position_headers
from worker.feeds.log import Record
from worker.feeds.stretch import Span
from worker.opinion.cells import Outcome
from worker.opinion.memory import MemoryStore
from worker.opinion.store import Consumed
from worker.settings import Settings
from worker.verify.audit import Audit, Due, Output
from worker.verify.compare import Snapshot
from worker.verify.report import InputRange
from worker.verify.snapshot import snapshot

TOPICS = ("dead-letters", "enriched")
WRITTEN_MS = NOW_S * 1000 - 1000
DAY_S = 86_400

WORDS = st.builds(
    Words,
    at_s=st.sampled_from([NOW_S - 30, NOW_S - 3600, NOW_S - 3 * DAY_S, NOW_S - 20 * DAY_S, NOW_S - 50 * DAY_S]),
    language=st.sampled_from(["en", "de"]),
    label=st.sampled_from(["negative", "neutral", "positive"]),
    abstained=st.booleans(),
    copy_of=st.sampled_from([None, "a story"]),
    author=st.sampled_from([None, "ann", "bob"]),
    entities=st.lists(st.sampled_from(["Apple", "Berlin"]), max_size=2),
)


@dataclass
class History:
    """Both logs in the order of their writing, and how much of each was applied, in which order.

    Args:
        applied: topic and how many of its outcomes one call of the store took.
    """

    logs: dict[str, list[Outcome]]
    applied: list[tuple[str, int]] = field(default_factory=list)
    inputs: int = 0

    def write(self, outcome: Outcome) -> None:
        self.logs["dead-letters" if outcome.kind == "dead_lettered" else "enriched"].append(outcome)

    def everything_applied(self) -> History:
        return History(
            self.logs, [*self.applied, *((topic, len(log)) for topic, log in self.logs.items())], self.inputs
        )

    def stored(self) -> Snapshot:
        """What the store holds when that was applied."""

        async def main() -> Snapshot:
            store, read = MemoryStore(settings(), clock()), dict.fromkeys(TOPICS, 0)
            for topic, count in self.applied:
                batch = self.logs[topic][read[topic] : read[topic] + count]
                await store.apply(SHARD, Consumed(topic, 0, read[topic] or None, read[topic] + len(batch)), batch)
                read[topic] += len(batch)
            self.analysed = {
                outcome.position: flag
                for log in self.logs.values()
                for outcome, flag in zip(log, await store.resolved([each.position for each in log]), strict=True)
            }
            found = await snapshot(store, store, SHARD)
            assert found is not None
            return copy.deepcopy(found)

        return asyncio.run(main())


@st.composite
def histories(draw: st.DrawFn, *, repeats: bool = True) -> History:
    """Posts, dead letters, tombstones and requeued ones, stretches of them written again, applied up to somewhere."""
    history = History({topic: [] for topic in TOPICS})
    firsts: list[Outcome] = []
    for offset in range(draw(st.integers(1, 10))):
        kinds = ["post", "post", "dead", "tombstone"]
        requeueable = [outcome.position.offset for outcome in firsts if outcome.kind == "dead_lettered"]
        origin = draw(st.sampled_from(requeueable)) if requeueable and draw(st.booleans()) else None
        kind = draw(st.sampled_from(kinds[:3] if origin is not None else kinds))
        if kind == "post":
            firsts.append(post(offset, draw(WORDS), origin=origin))
        else:
            firsts.append(dead(offset, origin=origin) if kind == "dead" else tombstone(offset))
        history.write(firsts[-1])
        if repeats and draw(st.integers(0, 3)) == 0:
            for again in firsts[draw(st.integers(0, offset)) :]:
                history.write(again)
    history.inputs = len(firsts)
    history.applied = draw(st.lists(st.tuples(st.sampled_from(TOPICS), st.integers(1, 6)), max_size=8))
    return history


def record(outcome: Outcome, offset: int) -> Record:
    """The record that carries an outcome."""
    topic = "dead-letters" if outcome.kind == "dead_lettered" else "enriched"
    headers = position_headers(outcome.position, outcome.broker_ms)
    if outcome.origin is not None:
        headers.append((ORIGIN_HEADER, encode_origin(outcome.origin)))
    if outcome.kind == "dead_lettered":
        headers.append(("pv-reason", outcome.reason.encode()))
    value = encode(outcome.event) if outcome.event else None
    return Record(topic, 0, offset, WRITTEN_MS, None, value, tuple(headers))


def input_record(offset: int) -> Record:
    return Record("posts.social", 0, offset, NOW_S * 1000, None, b"{}", ())


def audit(
    history: History, stored: Snapshot | None, *, later_s: float = 0, cut: int = 0, configured: Settings | None = None
) -> tuple[Audit, InputRange]:
    """Verify a history against what a store holds, `later_s` after it was applied.

    Args:
        cut: how many of the oldest records of `enriched` have expired.
    """
    begins = {"dead-letters": 0, "enriched": cut}
    outputs = {
        (topic, 0): Output(Span(topic, 0, begins[topic], len(log), WRITTEN_MS if begins[topic] else None))
        for topic, log in history.logs.items()
    }
    places = {SHARD: set(outputs)}
    found = Audit(configured or settings(), (NOW_S + round(later_s)) * 1000, {SHARD: stored}, places, outputs)
    for topic in TOPICS:
        for offset, outcome in list(enumerate(history.logs[topic]))[begins[topic] :]:
            found.take(record(outcome, offset))
    found.settle({position: history.analysed[position] for position in found.undecided()})
    due = Due("posts.social", 0, SHARD, 0, history.inputs, history.inputs)
    stretches = [offset for begin, end in found.without_outcome(due) for offset in range(begin, end)]
    return found, found.input_range(due, map(input_record, stretches))
