"""Something done again and again beside a row, from a thread of its own."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager


@contextmanager
def beside(act: Callable[[], None], every_s: float) -> Iterator[None]:
    """Act every `every_s` until the block ends, the first time after one such pause."""
    ends = threading.Event()

    def repeat() -> None:
        while not ends.wait(every_s):
            act()

    thread = threading.Thread(target=repeat, name=act.__name__)
    thread.start()
    try:
        yield
    finally:
        ends.set()
        thread.join()
