"""Which weights train, and how fast: frozen layers, and rates that fall towards the input."""

from collections.abc import Iterator
from typing import Any

import torch
from torch import nn

from worker.model.network import MultiTaskBert, trainable_parts
from worker.model.recipe import Recipe, RecipeError


def make_optimiser(network: MultiTaskBert, recipe: Recipe) -> torch.optim.AdamW:
    """AdamW over the encoder (word embeddings frozen) and the heads, each with its own peak learning rate."""
    settings, options = recipe.optimiser, recipe.options
    freeze(network, options.freeze_layers)
    _, heads = trainable_parts(network)
    rates: dict[float, list[nn.Parameter]] = {}
    for parameter, below_top in _depths(network):
        if parameter.requires_grad:
            rates.setdefault(settings.encoder_lr * options.layer_decay**below_top, []).append(parameter)
    groups: list[dict[str, Any]] = [{"params": found, "lr": rate, "peak_lr": rate} for rate, found in rates.items()]
    groups.append({"params": heads, "lr": settings.heads_lr, "peak_lr": settings.heads_lr})
    return torch.optim.AdamW(groups, weight_decay=settings.weight_decay, fused=True)


def freeze(network: MultiTaskBert, layers: int) -> None:
    """Keep the embeddings and the lowest `layers` layers as they are; nothing for 0.

    Raises:
        RecipeError: the encoder has fewer layers.
    """
    count = len(network.encoder.encoder.layer)
    if layers > count:
        raise RecipeError(f"options.freeze_layers is {layers}, but the encoder has {count} layers")
    if layers:
        for part in (network.encoder.embeddings, *network.encoder.encoder.layer[:layers]):
            part.requires_grad_(False)


def _depths(network: MultiTaskBert) -> Iterator[tuple[nn.Parameter, int]]:
    """The encoder's weights in their order, with the number of layers above each (Howard and Ruder 2018, 3.2)."""
    layers = network.encoder.encoder.layer
    for parameter in network.encoder.embeddings.parameters():
        yield parameter, len(layers)
    for number, layer in enumerate(layers):
        for parameter in layer.parameters():
            yield parameter, len(layers) - 1 - number
