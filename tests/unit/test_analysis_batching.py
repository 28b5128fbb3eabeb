"""What batching promises: nobody starves, the budget holds, nothing is lost, and little is padding."""

from __future__ import annotations

import random
from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from worker.analysis.batching import Pool, TokenBudget, collate
from worker.analysis.prepare import Window

LENGTHS = st.lists(st.integers(1, 512), max_size=80)
BUDGETS = st.builds(TokenBudget, st.integers(16, 2048), st.integers(1, 40), st.integers(0, 100))


@dataclass(frozen=True)
class Item:
    number: int
    length: int


def pool_of(lengths: list[int]) -> Pool[Item]:
    pool: Pool[Item] = Pool()
    for number, length in enumerate(lengths):
        pool.add(Item(number, length))
    return pool


@settings(deadline=None)
@given(LENGTHS, BUDGETS)
def test_every_item_comes_out_once(lengths: list[int], budget: TokenBudget):
    """Taking until nothing is left returns every item exactly once."""
    pool, taken = pool_of(lengths), []
    while batch := pool.take(budget):
        taken += batch
    assert sorted(item.number for item in taken) == list(range(len(lengths)))
    assert (len(pool), pool.oldest) == (0, None)


@settings(deadline=None)
@given(LENGTHS, BUDGETS, st.randoms(use_true_random=False))
def test_oldest_is_in_every_batch(lengths: list[int], budget: TokenBudget, chance: random.Random):
    """The item that has waited longest comes first in the next batch, also while new ones keep arriving."""
    pool, number = pool_of(lengths), len(lengths)
    while len(pool):
        oldest = pool.oldest
        assert pool.take(budget)[0] == oldest
        if number < 150 and chance.random() < 0.5:
            pool.add(Item(number, chance.randint(1, 512)))
            number += 1


@settings(deadline=None)
@given(LENGTHS, BUDGETS)
def test_budget_is_kept(lengths: list[int], budget: TokenBudget):
    """Rows times the longest row stay within the budget; only an item too long for it goes alone."""
    pool = pool_of(lengths)
    while batch := pool.take(budget):
        longest = max(item.length for item in batch)
        assert len(batch) <= budget.posts
        assert len(batch) * longest <= budget.tokens or len(batch) == 1


@settings(deadline=None)
@given(LENGTHS, BUDGETS)
def test_company_is_not_bought_with_padding(lengths: list[int], budget: TokenBudget):
    """Rows are padded by so many tokens on average at most, however few wait: a second request costs less."""
    pool = pool_of(lengths)
    while batch := pool.take(budget):
        longest = max(item.length for item in batch)
        assert sum(longest - item.length for item in batch) <= budget.padding * len(batch)


@settings(deadline=None)
@given(LENGTHS, BUDGETS)
def test_batch_is_full(lengths: list[int], budget: TokenBudget):
    """No batch leaves room for a waiting item that is as long as its longest."""
    pool = pool_of(lengths)
    while batch := pool.take(budget):
        longest = max(item.length for item in batch)
        room = len(batch) < budget.posts and (len(batch) + 1) * longest <= budget.tokens
        rest = pool.discard(lambda _: True)
        assert not (room and any(item.length == longest for item in rest))
        for item in rest:
            pool.add(item)


@settings(deadline=None)
@given(LENGTHS, BUDGETS)
def test_discarded_items_never_come_out(lengths: list[int], budget: TokenBudget):
    """What belongs to a revoked partition is handed back and is in no later batch; order of the rest holds."""
    pool = pool_of(lengths)
    removed = pool.discard(lambda item: item.number % 3 == 0)
    assert [item.number for item in removed] == list(range(0, len(lengths), 3))
    kept = []
    while batch := pool.take(budget):
        kept += batch
    assert sorted(item.number for item in kept) == [n for n in range(len(lengths)) if n % 3]


@pytest.mark.parametrize(
    ("waiting", "budget"),
    [(512, TokenBudget(640, 16)), (512, TokenBudget(320, 8)), (4096, TokenBudget(8192, 256))],
)
def test_little_is_padding(waiting: int, budget: TokenBudget):
    """With enough posts of usual lengths waiting, padded tokens are at most 1.1 times the real ones."""
    chance = random.Random(7)

    def length() -> int:
        return min(128, max(3, round(chance.lognormvariate(3.3, 0.7))))  # posts of 34 tokens on average

    pool, real, padded = pool_of([length() for _ in range(waiting)]), 0, 0
    for _ in range(400):
        batch = pool.take(budget)
        real += sum(item.length for item in batch)
        padded += len(batch) * max(item.length for item in batch)
        for item in batch:
            pool.add(Item(item.number, length()))
    assert padded / real <= 1.1


def test_collate_pads_behind():
    """Rows are padded behind their last token to the longest row, and the mask marks the real tokens."""
    windows = [Window(np.array(ids, np.int32), 0) for ids in ([0, 5, 6, 2], [0, 2])]
    batch = collate(windows, pad_id=1)
    assert batch.input_ids.tolist() == [[0, 5, 6, 2], [0, 2, 1, 1]]
    assert batch.attention_mask.tolist() == [[1, 1, 1, 1], [1, 1, 0, 0]]
    assert (batch.input_ids.dtype, batch.attention_mask.dtype) == (np.int64, np.int64)
