"""From a batch to gradients: the weighted loss, and what the recipe's options add to it."""

from contextlib import AbstractContextManager, nullcontext

import torch
from torch import Tensor

from worker.model import fgm
from worker.model.batches import Batch
from worker.model.losses import batch_losses
from worker.model.network import MultiTaskBert
from worker.model.precision import autocast
from worker.model.r_drop import disagreement
from worker.model.recipe import Recipe


def add_gradients(network: MultiTaskBert, batch: Batch, recipe: Recipe) -> dict[str, float]:
    """Add the gradients of the batch's mean weighted loss to the weights'; returns task -> summed loss."""
    options = recipe.options
    scale = len(batch.input_ids) * options.accumulate
    watching: AbstractContextManager[list[Tensor]] = fgm.watched(network) if options.fgm else nullcontext([])
    with watching as seen:
        total, losses = weighted_loss(network, batch, recipe)
        (total / scale).backward()
    if options.fgm:
        with fgm.shifted(network, fgm.worst_shift(seen, options.fgm)):
            adversarial, _ = weighted_loss(network, batch, recipe)
            (adversarial / scale).backward()
    return {name: loss.item() for name, loss in losses.items()}


def weighted_loss(network: MultiTaskBert, batch: Batch, recipe: Recipe) -> tuple[Tensor, dict[str, Tensor]]:
    """(the sum over examples of their tasks' weighted losses, task -> its summed loss)."""
    options, tasks = recipe.options, recipe.tasks()
    outputs = _outputs(network, batch, recipe)
    losses = batch_losses(outputs, batch, options.class_weights)
    total = torch.stack([losses[name] * task.loss_weight for name, task in tasks.items()]).sum()
    if options.r_drop:
        again = _outputs(network, batch, recipe)
        others = batch_losses(again, batch, options.class_weights)
        second = torch.stack([others[name] * task.loss_weight for name, task in tasks.items()]).sum()
        apart = disagreement(outputs, again, batch)
        total = (total + second) / 2
        total = total + options.r_drop * torch.stack([apart[name] * tasks[name].loss_weight for name in apart]).sum()
    if options.adapter == "adalora":
        from worker.model.adapters import orthogonality  # noqa: PLC0415 - loads peft, which other runs do without

        total = total + orthogonality(network) * len(batch.input_ids)
    return total, losses


def _outputs(network: MultiTaskBert, batch: Batch, recipe: Recipe) -> tuple[Tensor, ...]:
    with autocast(batch.input_ids.device, recipe.optimiser.bf16):
        outputs: tuple[Tensor, ...] = network(batch.input_ids, batch.attention_mask)
    return outputs
