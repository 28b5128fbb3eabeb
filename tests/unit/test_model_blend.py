"""Weights between the start and the end of a run."""

import pytest

pytest.importorskip("torch")

from dataclasses import replace

import torch

from tests.small_run import RECIPE, make_base, make_data, train
from worker.model import checkpoint
from worker.model.blend import blend
from worker.model.checkpoint import CheckpointError
from worker.model.starting import copy_start

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """Two runs of different seeds that started from the end of another, `first`."""
    place = tmp_path_factory.mktemp("runs")
    data = make_data(place / "data")
    first = make_base(place / "first")
    train(data, first)
    for seed, name in enumerate(("second", "third")):
        (place / name).mkdir()
        copy_start(first / "ckpt-latest", place / name)
        train(data, place / name, recipe=replace(RECIPE, seed=seed))
    return [place / "second", place / "third"]


@pytest.fixture(scope="module")
def run(runs):
    return runs[0]


@pytest.mark.parametrize("share", [0.0, 0.25, 1.0])
def test_every_weight_lies_on_the_line(run, tmp_path, share):
    """0 is the start and 1 the end; labels and tokenizer are the run's."""
    before, after = (checkpoint.load(run / name)[0].state_dict() for name in ("start", "ckpt-latest"))
    network, tokenizer, labels = checkpoint.load(blend([run], share, tmp_path / "blended"))
    assert any(not torch.equal(before[name], after[name]) for name in after)
    for name, weights in network.state_dict().items():
        torch.testing.assert_close(weights, (1 - share) * before[name] + share * after[name])
    assert labels == checkpoint.load(run / "ckpt-latest")[2]
    assert tokenizer.get_vocab_size() == 6


def test_a_run_from_a_base_has_nothing_to_keep(run, tmp_path):
    """One clear error, and nothing is written."""
    with pytest.raises(CheckpointError, match="started from a base"):
        blend([run.parent / "first"], 0.5, tmp_path / "blended")
    assert not (tmp_path / "blended").exists()


def test_several_runs_meet_in_their_mean(runs, tmp_path):
    """Half-way from the start to the mean of both ends, whichever run is named first."""
    before, one, other = (
        checkpoint.load(folder)[0].state_dict()
        for folder in (runs[0] / "start", *(run / "ckpt-latest" for run in runs))
    )
    assert any(not torch.equal(one[name], other[name]) for name in one)
    for order in (runs, runs[::-1]):
        network, _, _ = checkpoint.load(blend(order, 0.5, tmp_path / "blended"))
        for name, weights in network.state_dict().items():
            torch.testing.assert_close(weights, 0.5 * before[name] + 0.25 * one[name] + 0.25 * other[name])


def test_runs_of_different_starts_have_no_mean(runs, tmp_path):
    """One clear error that names both, and nothing is written."""
    other = tmp_path / "other"
    other.mkdir()
    copy_start(runs[0] / "ckpt-latest", other)
    with pytest.raises(CheckpointError, match=r"second and .*other started from different weights"):
        blend([runs[0], other], 0.5, tmp_path / "blended")
    assert not (tmp_path / "blended").exists()
