"""How far a student is from its teacher: softened answers of the heads, and hidden states."""

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional

from worker.model.batches import Batch
from worker.model.network import MultiTaskBert

HEADS = ("sentiment", "topic", "tags", "token_sentiment")


def passed(network: MultiTaskBert, batch: Batch) -> tuple[tuple[Tensor, ...], tuple[Tensor, ...]]:
    """(logits as `MultiTaskBert.forward`, what each layer gives on, float [B, T, D])."""
    output = network.encoder(input_ids=batch.input_ids, attention_mask=batch.attention_mask, output_hidden_states=True)
    return network.answers(output.last_hidden_state, batch.attention_mask), output.hidden_states[1:]


def answer_losses(
    student: Sequence[Tensor], teacher: Sequence[Tensor], batch: Batch, temperature: float
) -> dict[str, Tensor]:
    """Head -> KL(teacher || student) of the softened answers, mean over texts or tokens (Hinton et al. 2015).

    Times the square of the temperature, which leaves the size of the gradients as it is.
    """
    real = batch.attention_mask == 1
    losses = {}
    for head, own, others in zip(HEADS, student, teacher, strict=True):
        pair = (own, others) if own.ndim == 2 else (own[real], others[real])
        shares, wanted = (functional.log_softmax(logits.float() / temperature, -1) for logits in pair)
        losses[head] = functional.kl_div(shares, wanted, reduction="batchmean", log_target=True) * temperature**2
    return losses


def hidden_loss(student: Sequence[Tensor], teacher: Sequence[Tensor], layers: Sequence[int], batch: Batch) -> Tensor:
    """The mean squared distance of each layer of the student from the teacher's layer that it stands for."""
    real = batch.attention_mask == 1
    pairs = [(own, teacher[layer]) for own, layer in zip(student, layers, strict=True)]
    return torch.stack([functional.mse_loss(own[real].float(), other[real].float()) for own, other in pairs]).mean()
