"""What every training run goes on from: fine-tuning, pre-training and distillation share it."""

from pathlib import Path

import pytest

pytest.importorskip("torch")

import torch

from worker.model.checkpoint import CheckpointError
from worker.model.loop import Position
from worker.model.resume import FILE, restore_state, save_state

pytestmark = pytest.mark.slow


def parts(width: int = 2):
    """A network and its optimiser."""
    network = torch.nn.Linear(width, 1)
    return network, torch.optim.AdamW(network.parameters())


def test_a_run_goes_on_where_it_was_saved(tmp_path: Path) -> None:
    """Weights and position come back, into fresh parts."""
    saved, fresh = parts(), parts()
    save_state(tmp_path, *saved, Position(step=7, elapsed_s=1.5, losses={"a": 2.0}, examples=9))
    assert restore_state(tmp_path, *fresh) == Position(step=7, elapsed_s=1.5, losses={"a": 2.0}, examples=9)
    assert torch.equal(fresh[0].weight, saved[0].weight)
    assert [file.name for file in tmp_path.iterdir()] == [FILE]


def test_what_is_not_this_runs_is_refused(tmp_path: Path) -> None:
    """A damaged file, one without a part that is asked for, and one of another network: each says so."""
    save_state(tmp_path, *parts(), Position())
    with pytest.raises(CheckpointError, match="holds no average"):
        restore_state(tmp_path, *parts(), {"average": torch.nn.Linear(1, 1)})
    with pytest.raises(CheckpointError, match="another network"):
        restore_state(tmp_path, *parts(3))
    (tmp_path / FILE).write_bytes(b"PK\x03\x04 half of a file")
    with pytest.raises(CheckpointError, match="damaged"):
        restore_state(tmp_path, *parts())
