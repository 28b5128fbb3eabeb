"""What a row sees of a worker that has ended: nothing, and no error of its own."""

from __future__ import annotations

from pathlib import Path

from tests.fault.process import Process


def test_a_worker_that_ended_holds_nothing(tmp_path: Path) -> None:
    """An end that a row allows for, as in a long outage, does not end the row."""
    process = Process({}, tmp_path / "worker.log", tmp_path, ("-c", "raise SystemExit(3)"))
    assert process.wait() == 3
    assert (process.resident_bytes, process.handles) == (0, 0)
