"""The rows of the fault table, one module for each fault."""

from __future__ import annotations

from tests.fault.row import Row
from tests.fault.rows import poison, redis_replies, seams, terms

ROWS: tuple[Row, ...] = (terms.ROW, seams.ROW, redis_replies.ROW, poison.ROW)
"""In the order in which they run."""
