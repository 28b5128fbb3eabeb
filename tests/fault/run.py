"""Runs one row: its randomness from the seed, its time, and what it broke."""

from __future__ import annotations

import random
import time
from pathlib import Path

from kafka.errors import KafkaError

from tests.fault.rig import Rig
from tests.fault.row import Broken, Figures, Result, Row, Trial
from worker.errors import PolyvoxError
from worker.settings import REPOSITORY


def run_row(row: Row, rig: Rig, seed: int, repeats: int, root: Path = REPOSITORY) -> Result:
    """Run a row so many times its fault, on the workers of a checkout; what happened, whether or not it held."""
    figures, broken = Figures(), None
    trial = Trial(rig, random.Random(f"{seed}-{row.number}"), repeats, figures, root)
    started_s = time.monotonic()
    try:
        row.run(trial)
    except (Broken, PolyvoxError, KafkaError, OSError) as reason:
        broken = f"{type(reason).__name__}: {reason}"
    if figures.late:
        broken = "; ".join(["late", *figures.late, *([broken] if broken else [])])
    return Result(row.number, row.fault, row.repeats, seed, time.monotonic() - started_s, figures, broken)
