"""Weights between the start and the end of a run."""

import pytest

pytest.importorskip("torch")

import torch

from tests.small_run import make_base, make_data, train
from worker.model import checkpoint
from worker.model.blend import blend
from worker.model.checkpoint import CheckpointError
from worker.model.starting import copy_start

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A run that started from the end of another."""
    place = tmp_path_factory.mktemp("runs")
    data = make_data(place / "data")
    first = make_base(place / "first")
    train(data, first)
    (place / "second").mkdir()
    copy_start(first / "ckpt-latest", place / "second")
    train(data, place / "second")
    return place / "second"


@pytest.mark.parametrize("share", [0.0, 0.25, 1.0])
def test_every_weight_lies_on_the_line(run, tmp_path, share):
    """0 is the start and 1 the end; labels and tokenizer are the run's."""
    before, after = (checkpoint.load(run / name)[0].state_dict() for name in ("start", "ckpt-latest"))
    network, tokenizer, labels = checkpoint.load(blend(run, share, tmp_path / "blended"))
    assert any(not torch.equal(before[name], after[name]) for name in after)
    for name, weights in network.state_dict().items():
        torch.testing.assert_close(weights, (1 - share) * before[name] + share * after[name])
    assert labels == checkpoint.load(run / "ckpt-latest")[2]
    assert tokenizer.get_vocab_size() == 6


def test_a_run_from_a_base_has_nothing_to_keep(run, tmp_path):
    """One clear error, and nothing is written."""
    with pytest.raises(CheckpointError, match="started from a base"):
        blend(run.parent / "first", 0.5, tmp_path / "blended")
    assert not (tmp_path / "blended").exists()
