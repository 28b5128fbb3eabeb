"""Fewer heaps: what threads free can be used by all of them.

glibc gives nearly each thread a heap of its own, up to eight for a core, and gives little back of any. With the
threads of a worker, some of which come and go, a quarter of its memory was free pieces of such heaps, and they grew for
hours (mallopt(3), M_ARENA_MAX).
"""

from __future__ import annotations

import ctypes

HEAPS = 2
M_ARENA_MAX = -8


def share_heaps() -> None:
    """Let this process have `HEAPS` heaps; before its threads. Nothing happens where the C library is another."""
    library = ctypes.CDLL(None)
    if hasattr(library, "mallopt"):
        library.mallopt(M_ARENA_MAX, HEAPS)
