"""Windows of a given length, for tests of batches."""

from __future__ import annotations

import numpy as np

from worker.analysis.prepare import Window


def window(length: int, token: int = 20) -> Window:
    """A window of so many equal tokens."""
    return Window(np.full(length, token, np.int32), 0)
