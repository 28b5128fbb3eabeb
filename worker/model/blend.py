"""Between where runs started and where they ended: weights that keep what the start knew and the runs did not repeat.

A straight line between a network and its fine-tuned self often scores better on both mixtures than either end (WiSE-FT,
Wortsman et al. 2022, arXiv 2109.01903), and the mean of several runs from one start better than each (model soups,
Wortsman et al. 2022, arXiv 2203.05482): docs/model-lab.md has the figures.
"""

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from worker.model import checkpoint
from worker.model.checkpoint import CheckpointError

State = dict[str, Tensor]


def blend(runs: Sequence[Path], share: float, out: Path) -> Path:
    """Write the checkpoint `share` of the way from the runs' common start to the mean of their ends; `out`.

    Args:
        runs: folders of fine-tuning runs, at least one, that started from one checkpoint or served bundle.
        share: 0 is the start, 1 the mean of the ends.

    Raises:
        CheckpointError: a run started from a base or from other weights than the first, has not ended, or changed the
            network's shape.
    """
    start, network, tokenizer, labels = _start(runs[0]), *checkpoint.load(runs[0] / "ckpt-latest")
    for run in runs[1:]:
        other = _start(run)
        if other.keys() != start.keys() or not all(torch.equal(start[name], other[name]) for name in start):
            raise CheckpointError(f"{runs[0]} and {run} started from different weights: there is no way between them")
    ends = [network.state_dict(), *(checkpoint.load(run / "ckpt-latest")[0].state_dict() for run in runs[1:])]
    if wrong := next((run for run, end in zip(runs, ends, strict=True) if not _same_shape(start, end)), None):
        raise CheckpointError(f"{wrong / 'start'} and {wrong / 'ckpt-latest'} are networks of different shapes")
    network.load_state_dict({name: _between(start[name], [end[name] for end in ends], share) for name in ends[0]})
    checkpoint.save(out, network, tokenizer, labels)
    return out


def _start(run: Path) -> State:
    if not (run / "start").is_dir():
        raise CheckpointError(f"{run} started from a base: there is nothing to keep; give a run with --start-from")
    found: State = checkpoint.load(run / "start")[0].state_dict()
    return found


def _same_shape(start: State, end: State) -> bool:
    return all(name in start and start[name].shape == weights.shape for name, weights in end.items())


def _between(before: Tensor, after: Sequence[Tensor], share: float) -> Tensor:
    if not before.dtype.is_floating_point:
        return after[0]
    return before.lerp(torch.stack(list(after)).mean(0), share)
