"""Which waiting windows go into the next batch: the oldest one, and those that cost the least padding beside it.

Padding decides the speed: on two cores batches in arrival order hold 33 % real tokens, batches of neighbours in
length 95 to 98 %.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import count
from typing import Generic, Protocol, TypeVar

import numpy as np

from worker.analysis.inference import TokenBatch
from worker.analysis.prepare import Window


class Sized(Protocol):
    """What can wait in a `Pool`."""

    @property
    def length(self) -> int:
        """Tokens, special ones included."""
        ...


T = TypeVar("T", bound=Sized)


@dataclass(frozen=True, slots=True)
class TokenBudget:
    """The size of a batch: `tokens` counts padding (rows times longest row), `posts` counts rows."""

    tokens: int
    posts: int


def plan(lengths: Sequence[tuple[int, int]], at: int, budget: TokenBudget) -> tuple[int, int]:
    """Choose the run `lengths[start:end]` around `at` that makes the next batch.

    Grows one neighbour at a time, the one that adds less padding: a shorter one pads itself, a longer one pads all
    others. Stops when neither fits. The item at `at` goes in even if it exceeds the budget alone.

    Args:
        lengths: (tokens, arrival number) of all that wait, ascending.
        at: the index of the one that has waited longest.
        budget: the largest batch.
    """
    start, end, longest = at, at + 1, lengths[at][0]
    while end - start < budget.posts:
        rows = end - start
        shorter = longest - lengths[start - 1][0] if start else None
        longer = (lengths[end][0] - longest) * rows if end < len(lengths) else None
        if longer is not None and (longest + longer // rows) * (rows + 1) > budget.tokens:
            longer = None
        if shorter is not None and longest * (rows + 1) > budget.tokens:
            shorter = None
        if shorter is not None and (longer is None or shorter <= longer):
            start -= 1
        elif longer is not None:
            end, longest = end + 1, lengths[end][0]
        else:
            break
    return start, end


class Pool(Generic[T]):
    """Windows that wait for inference, in arrival order and by length; not thread-safe.

    Meant for some thousand items: a list insert moves 8 bytes an item, under a microsecond in all.
    """

    def __init__(self) -> None:
        self._arrivals = count()
        self._items: OrderedDict[int, T] = OrderedDict()
        self._lengths: list[tuple[int, int]] = []

    def __len__(self) -> int:
        return len(self._items)

    @property
    def oldest(self) -> T | None:
        """The item that has waited longest."""
        return next(iter(self._items.values()), None)

    def add(self, item: T) -> None:
        """Let `item` wait."""
        arrival = next(self._arrivals)
        self._items[arrival] = item
        insort(self._lengths, (item.length, arrival))

    def take(self, budget: TokenBudget) -> list[T]:
        """Remove and return the next batch, oldest item first; empty when nothing waits."""
        if not self._items:
            return []
        arrival, item = next(iter(self._items.items()))
        start, end = plan(self._lengths, bisect_left(self._lengths, (item.length, arrival)), budget)
        arrivals = sorted(number for _, number in self._lengths[start:end])
        del self._lengths[start:end]
        return [self._items.pop(number) for number in arrivals]

    def discard(self, unwanted: Callable[[T], bool]) -> list[T]:
        """Remove and return every item for which `unwanted` is true, such as those of a revoked partition."""
        arrivals = [number for number, item in self._items.items() if unwanted(item)]
        removed = [self._items.pop(number) for number in arrivals]
        self._lengths = [pair for pair in self._lengths if pair[1] in self._items]
        return removed


def collate(windows: Sequence[Window], pad_id: int) -> TokenBatch:
    """Pad windows to a rectangle, int64 [B, T]; T is the longest window's length."""
    shape = (len(windows), max(window.length for window in windows))
    input_ids = np.full(shape, pad_id, np.int64)
    attention_mask = np.zeros(shape, np.int64)
    for row, window in enumerate(windows):
        input_ids[row, : window.length] = window.ids
        attention_mask[row, : window.length] = 1
    return TokenBatch(input_ids, attention_mask)
