"""The rows of the fault table, one module for each kind of fault."""

from __future__ import annotations

from tests.fault.row import Row
from tests.fault.rows import (
    again,
    backlog,
    brokers,
    compacted,
    damaged,
    exceptions,
    kills,
    odd_logs,
    only_poison,
    poison,
    redis_hurt,
    redis_replies,
    scale,
    seams,
    soak,
    terms,
    triton_dies,
    triton_sick,
    unwritable,
    zombie,
)

ROWS: tuple[Row, ...] = (
    kills.ANY,
    terms.ROW,
    kills.STARTING,
    scale.ROW,
    seams.ROW,
    zombie.ROW,
    brokers.BOUNCED,
    brokers.DOWN,
    brokers.CUT,
    triton_dies.KILLED,
    triton_dies.DEADLY_RECORD,
    triton_sick.HANGS,
    triton_sick.SLOW,
    backlog.ROW,
    triton_sick.NONSENSE,
    redis_replies.ROW,
    redis_hurt.ROW,
    poison.ROW,
    only_poison.ROW,
    unwritable.ROW,
    odd_logs.MARKERS,
    odd_logs.BELOW,
    odd_logs.RECREATED,
    compacted.ROW,
    exceptions.ROW,
    again.ROW,
    damaged.ROW,
)
"""In the order in which they run."""

APART: tuple[Row, ...] = (soak.ROW,)
"""Those that run when they are named, and not with the others."""
