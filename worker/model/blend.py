"""Between where a run started and where it ended: weights that keep what the start knew and the run did not repeat.

A straight line between a network and its fine-tuned self often scores better on both mixtures than either end (WiSE-FT,
Wortsman et al. 2022, arXiv 2109.01903): docs/model-lab.md has the figures.
"""

from pathlib import Path

from worker.model import checkpoint
from worker.model.checkpoint import CheckpointError


def blend(run: Path, share: float, out: Path) -> Path:
    """Write the checkpoint `share` of the way from `run`/start to `run`/ckpt-latest; `out`.

    Args:
        run: the folder of a fine-tuning run that started from a checkpoint or a served bundle.
        share: 0 is the start, 1 the end.

    Raises:
        CheckpointError: the run started from a base, has not ended, or changed the network's shape.
    """
    if not (run / "start").is_dir():
        raise CheckpointError(f"{run} started from a base: there is nothing to keep; give a run with --start-from")
    start, _, _ = checkpoint.load(run / "start")
    network, tokenizer, labels = checkpoint.load(run / "ckpt-latest")
    before, after = start.state_dict(), network.state_dict()
    if any(name not in before or before[name].shape != weights.shape for name, weights in after.items()):
        raise CheckpointError(f"{run / 'start'} and {run / 'ckpt-latest'} are networks of different shapes")
    network.load_state_dict(
        {
            name: before[name].lerp(weights, share) if weights.dtype.is_floating_point else weights
            for name, weights in after.items()
        }
    )
    checkpoint.save(out, network, tokenizer, labels)
    return out
