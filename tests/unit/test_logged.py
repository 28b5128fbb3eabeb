"""Reading a worker's log finds every line of an event."""

from __future__ import annotations

from pathlib import Path

from tests.logged import logged


def test_lines_that_share_one_are_told_apart(tmp_path: Path) -> None:
    """Two threads or workers that write at one moment lose nothing, nor does what is not JSON disturb."""
    log = tmp_path / "worker.log"
    log.write_text(
        'Traceback: {not json}\n\x1b[2K{"event": "started", "of": {"n": 1}}{"event": "ended"} {"event": "started"}\n\n'
        '{"event": "started", "n": 3}\n{"event": "started", "n": 4',
        encoding="utf-8",
    )
    assert logged(log, "started") == [
        {"event": "started", "of": {"n": 1}},
        {"event": "started"},
        {"event": "started", "n": 3},
    ]
