"""How a server is measured: the same posts for every way, in the worker's batches, in turns."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.little_triton import ROWS, TINY, LittleTriton, served
from tests.windows import window
from worker.analysis.batching import TokenBudget
from worker.analysis.inference import Logits, ScriptedInference, TokenBatch
from worker.analysis.prepare import Window
from worker.errors import InferenceRejected, InferenceUnavailable, PolyvoxError
from worker.settings import REPOSITORY, load_settings
from worker.timing import ManualClock, SystemClock
from worker.tuning.choice import Run, Way, choose, figures_of
from worker.tuning.measure import Bench, Effort, Sweep, batches, run_once, sweep
from worker.tuning.run import Texts, calibrate

LENGTHS = [random.Random(3).randint(3, 30) for _ in range(200)]
POSTS = [[window(length)] for length in LENGTHS]
EFFORT = Effort(run_s=1.0, rounds=3, latency_ms=500.0)


def never(number: int, rows: int) -> PolyvoxError | None:
    """Every batch is answered."""
    return None


@dataclass
class Server(ScriptedInference):
    """A batch takes it 4 ms, and for each row more the more rows there are; calls end in another order than they began.

    `fails` is asked with a call's number, from 1, and its rows.
    """

    clock: ManualClock = field(default_factory=lambda: ManualClock(0.0))
    fails: Callable[[int, int], PolyvoxError | None] = never
    asked: int = 0
    at_once: int = 0
    most_at_once: int = 0

    async def infer(self, batch: TokenBatch) -> Logits:
        self.asked += 1
        number, rows = self.asked, len(batch.input_ids)
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        for _ in range(1 + number % 5):
            await asyncio.sleep(0)  # lets other callers come
        self.at_once -= 1
        self.clock.advance((4 + rows + rows * rows / 40) / 1000)
        if failure := self.fails(number, rows):
            raise failure
        return await super().infer(batch)


def out_of_memory(number: int, rows: int) -> PolyvoxError | None:
    """More than 8 rows are too many."""
    return InferenceRejected("scripted: out of memory") if rows > 8 else None


def bench_of(server: Server, posts: Sequence[Sequence[Window]] = POSTS, pool_posts: int = 512) -> Bench:
    return Bench(server, posts, TINY.pad_id, pool_posts, server.clock)


def swept(server: Server, ways: Sequence[Way], effort: Effort = EFFORT) -> Sweep:
    return asyncio.run(sweep(bench_of(server), ways, effort, lambda _done, _todo: None))


@given(
    st.lists(st.lists(st.integers(1, 112), min_size=1, max_size=3), max_size=60),
    st.builds(TokenBudget, st.integers(16, 2048), st.integers(1, 40)),
    st.integers(1, 64),
)
def test_every_window_is_sent_once_in_batches_within_the_budget(
    lengths: list[list[int]], budget: TokenBudget, pool_posts: int
):
    """A window that exceeds the budget alone goes alone."""
    posts = [[window(length, token) for token, length in enumerate(each)] for each in lengths]
    made = list(batches(posts, budget, pool_posts))
    sent = sorted(id(each) for batch in made for each in batch)
    assert sent == sorted(id(each) for windows in posts for each in windows)
    for batch in made:
        assert len(batch) <= budget.posts
        assert len(batch) == 1 or len(batch) * max(each.length for each in batch) <= budget.tokens


def test_batches_are_chosen_from_a_full_pool_as_in_a_worker():
    """Neighbours in length: hardly any padding, where arrival order would send half of it."""
    many = [windows for _ in range(10) for windows in POSTS]
    made = list(batches(many, TokenBudget(8192, 16), 512))
    padded = sum(len(batch) * max(each.length for each in batch) for batch in made)
    assert padded <= 1.1 * 10 * sum(LENGTHS)


@pytest.mark.parametrize("in_flight", [1, 2, 5])
def test_as_many_batches_are_in_flight_as_the_way_says(in_flight: int):
    """No more, and no less while there is something to send; all tokens and batches are counted."""
    server = Server(len(TINY.topics))
    run = asyncio.run(run_once(bench_of(server), Way(8, 512, in_flight), 400))
    assert server.most_at_once == in_flight
    assert len(run.latencies_ms) == len(server.calls) == server.asked
    assert run.real_tokens == 2 * sum(LENGTHS)
    assert run.padded_tokens == sum(rows * tokens for rows, tokens in server.calls)


def test_a_rate_is_posts_by_time():
    """Not windows: a post of three counts once."""
    server = Server(len(TINY.topics))
    posts = [[window(10), window(10), window(10)]]
    run = asyncio.run(run_once(bench_of(server, posts), Way(1, 512, 1), 20))
    seconds = 3 * 20 * (4 + 1 + 1 / 40) / 1000
    assert run.posts_per_s == pytest.approx(20 / seconds)
    assert run.latencies_ms == pytest.approx([5.025] * 60)


def test_the_fastest_way_is_found():
    """Of a server that is fastest with 8 to 16 rows, one batch at a time is enough, and 16 are chosen."""
    server = Server(len(TINY.topics))
    found = swept(server, [Way(posts, 8192, in_flight) for posts in (1, 4, 16, 64) for in_flight in (1, 3)])
    chosen = choose([figures_of(way, runs) for way, runs in found.runs.items()], 500.0)
    assert (chosen.batch_posts, chosen.batches_in_flight, chosen.runs) == (16, 1, EFFORT.rounds)


def test_the_ways_take_turns():
    """A second run comes when every way has had its first: a slow minute is nobody's alone."""
    server, ways = Server(len(TINY.topics)), [Way(posts, 8192, 1) for posts in (4, 8, 16)]
    swept(server, ways)
    widest = [rows for rows, _ in server.calls if rows in (4, 8, 16)]
    turns = [after for before, after in pairwise([0, *widest]) if after != before]
    probe, rounds = turns[0], turns[1:]
    assert probe == 16
    assert rounds == [4, 8, 16] * EFFORT.rounds


def test_a_way_that_the_server_refuses_is_left_out_and_named():
    """Out of memory with large batches says nothing of small ones."""
    small, large = Way(8, 8192, 1), Way(64, 8192, 2)
    found = swept(Server(len(TINY.topics), fails=out_of_memory), [small, large])
    assert set(found.runs) == {small}
    assert found.refused == {large: "scripted: out of memory"}
    with pytest.raises(PolyvoxError, match="refused every batch: scripted: out of memory"):
        swept(Server(len(TINY.topics), fails=out_of_memory), [large])


def test_a_way_that_is_refused_once_is_not_chosen_for_its_other_runs():
    """A worker would meet that batch too, sooner or later."""
    small, large = Way(8, 8192, 1), Way(16, 8192, 1)
    whole = Server(len(TINY.topics))
    swept(whole, [small, large])
    last = whole.asked

    def fails(number: int, rows: int) -> PolyvoxError | None:
        return InferenceRejected("scripted") if number == last else None

    found = swept(Server(len(TINY.topics), fails=fails), [small, large])
    assert set(found.runs) == {small}
    assert set(found.refused) == {large}


def test_an_outage_ends_it_and_no_call_is_cancelled():
    """What was sent is waited for, since a cancelled call can crash Triton; nothing more is sent."""

    def fails(number: int, rows: int) -> PolyvoxError | None:
        return InferenceUnavailable("scripted: away") if number == 10 else None

    server = Server(len(TINY.topics), fails=fails)
    with pytest.raises(InferenceUnavailable):
        swept(server, [Way(8, 512, 4)])
    assert server.at_once == 0
    assert server.asked <= 10 + 4


def test_runs_that_take_as_long_as_asked():
    """A fast server is sent more posts, all ways the same ones."""
    for run_s in (1.0, 4.0):
        server, ways = Server(len(TINY.topics)), [Way(8, 8192, 1), Way(16, 8192, 1)]
        found = swept(server, ways, Effort(run_s, 1, 500.0))
        runs: list[Run] = [run for each in found.runs.values() for run in each]
        assert len({run.real_tokens for run in runs}) == 1
        took_s = [sum(run.latencies_ms) / 1000 for run in runs]
        assert took_s[1] == pytest.approx(run_s, rel=0.1)


def test_a_triton_is_asked_for_no_more_rows_than_it_takes():
    """Over real gRPC: nothing is refused, and the file names the server, the model's version and the machine."""
    models = REPOSITORY / "tests" / "fixtures" / "tiny_models"
    settings = load_settings(models_dir=models, inference="triton", pool_posts=4 * ROWS)  # a small grid
    texts = Texts("two", [("Ein Abend in Hamburg.", "de"), ("What a day", None)])

    async def main() -> None:
        async with served(LittleTriton()) as address:
            configured = settings.model_copy(update={"triton_url": address})
            found = await calibrate(configured, texts, Effort(0.01, 1, 5000.0), SystemClock(), lambda *_: None)
        assert max(each.batch_posts for each in found.measured.figures) == ROWS
        assert not found.refused
        assert (found.measured.server, found.measured.inference) == (address, "triton")
        assert found.measured.model_version == TINY.model.version
        content = found.file()
        assert (content.batch_posts, content.batch_tokens) == (found.chosen.batch_posts, found.chosen.batch_tokens)

    asyncio.run(main())
