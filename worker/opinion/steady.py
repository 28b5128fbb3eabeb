"""Answers of one generation: what a replay swaps in is seen by all reads of a question, or by none."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TypeVar

from worker.opinion.reader import Reader

Answer = TypeVar("Answer")


async def steady(reader: Reader, ask: Callable[[], Awaitable[Answer]]) -> Answer:
    """Ask, and ask anew as long as a replay swapped buckets in meanwhile: each partition does so once in a replay."""
    before = await reader.generations()
    while True:
        answer = await ask()
        after = await reader.generations()
        if after == before:
            return answer
        before = after
