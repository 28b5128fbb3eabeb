"""Which attention heads matter: the gradient of the loss by a gate on each head (Michel et al. 2019)."""

import math
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor

from worker.model.attention_heads import head_width
from worker.model.batches import Batch
from worker.model.compress.shapes import CompressError
from worker.model.network import MultiTaskBert, device_of

Loss = Callable[[MultiTaskBert, Batch], Tensor]


def head_importance(network: MultiTaskBert, batches: Iterable[Batch], loss: Loss) -> list[Tensor]:
    """Float [heads] of each layer: the mean over texts of |d loss / d gate|, normalised by the layer's length.

    A gate of 1 multiplies what a head gives on; its gradient is the product of that and of its own gradient, summed.
    Layers are brought to one scale because their gradients differ by their depth alone (section 2.3 of the paper).

    Args:
        loss: the sum of the texts' losses, so that each text's gradient is its own.
    """
    sums: list[Tensor | float] = [0.0] * len(network.encoder.encoder.layer)
    with watched(network) as seen:
        for batch in batches:
            seen.clear()
            loss(network, batch.to(device_of(network))).backward()
            for layer, given in enumerate(seen):
                sums[layer] = sums[layer] + _gates(given, head_width(network.config)).abs().sum(0)
    network.zero_grad(set_to_none=True)
    found = [torch.as_tensor(total) for total in sums]
    return [(total / total.norm().clamp(min=1e-12)).cpu() for total in found]


def _gates(given: Tensor, width: int) -> Tensor:
    """The gradients of the gates, [B, heads], of what a layer's heads gave on, [B, T, heads * width]."""
    assert given.grad is not None
    return (given.detach() * given.grad).unflatten(-1, (-1, width)).sum((1, 3)).float()


@contextmanager
def watched(network: MultiTaskBert) -> Iterator[list[Tensor]]:
    """A list that each pass fills with what the heads of each layer give on, from below, gradients kept."""
    seen: list[Tensor] = []

    def keep(_module: Any, inputs: tuple[Tensor, ...]) -> None:
        inputs[0].retain_grad()
        seen.append(inputs[0])

    handles = [layer.attention.output.dense.register_forward_pre_hook(keep) for layer in network.encoder.encoder.layer]
    try:
        yield seen
    finally:
        for handle in handles:
            handle.remove()


def check_share(share: float, heads: list[int]) -> int:
    """How many heads go when layers have so many; CompressError when more than all but one of each layer."""
    count, spare = math.floor(share * sum(heads)), sum(heads) - len(heads)
    if count > spare:
        raise CompressError(f"{count} of {sum(heads)} heads to prune, but only {spare} can go: one of each layer stays")
    return count


def choose_heads(importance: list[Tensor], share: float) -> list[list[int]]:
    """The heads to keep in each layer when the least important `share` of all goes; the best of a layer always stays.

    Raises:
        CompressError: as `check_share`.
    """
    ranked = sorted(
        (float(value), layer, head)
        for layer, values in enumerate(importance)
        for head, value in enumerate(values)
        if head != int(values.argmax())
    )
    count = check_share(share, [len(values) for values in importance])
    gone = {(layer, head) for _, layer, head in ranked[:count]}
    return [
        [head for head in range(len(values)) if (layer, head) not in gone] for layer, values in enumerate(importance)
    ]
