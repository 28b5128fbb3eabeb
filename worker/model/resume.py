"""state.pt: what a training run goes on from. Written whole; refused, in one line, when it is not this run's."""

import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn

from worker.model.checkpoint import CheckpointError
from worker.model.loop import Position
from worker.model.network import device_of

FILE = "state.pt"


def save_state(
    out: Path,
    network: nn.Module,
    optimiser: torch.optim.Optimizer,
    position: Position,
    extras: Mapping[str, Any] | None = None,
) -> None:
    """Write where a run in `out` stands; `extras` are further parts with a `state_dict`, by name."""
    state = {"network": network.state_dict(), "optimiser": optimiser.state_dict(), "position": vars(position)}
    state |= {name: part.state_dict() for name, part in (extras or {}).items()}
    fresh = out / f"{FILE}.new"
    torch.save(state, fresh)
    fresh.rename(out / FILE)


def restore_state(
    out: Path, network: nn.Module, optimiser: torch.optim.Optimizer, extras: Mapping[str, Any] | None = None
) -> Position:
    """Load what `save_state` wrote into the same parts, and return where the run stands.

    Raises:
        CheckpointError: the file is damaged, lacks one of `extras`, or is of another network.
    """
    file, parts = out / FILE, extras or {}
    try:
        state = torch.load(file, map_location=device_of(network), weights_only=True)
    except (RuntimeError, EOFError, pickle.UnpicklingError) as error:
        raise CheckpointError(f"{file} is damaged; take it away to start from the base again") from error
    if missing := [name for name in parts if name not in state]:
        raise CheckpointError(
            f"{file} holds no {' and '.join(missing)}: it was made with other options; take those "
            "options or another folder"
        )
    try:
        network.load_state_dict(state["network"])
        optimiser.load_state_dict(state["optimiser"])
    except (RuntimeError, ValueError) as error:
        raise CheckpointError(
            f"{file} is of another network: it was made with another recipe or --licence; take those or another folder"
        ) from error
    for name, part in parts.items():
        part.load_state_dict(state[name])
    return Position(**state["position"])
