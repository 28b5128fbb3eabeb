"""The loss of a mixed batch: every example counts by its task's weight, whatever its batch mates are."""

import torch
from torch import Tensor
from torch.nn import functional

from worker.model.batches import Batch
from worker.model.data import IGNORED, NEUTRAL
from worker.model.topics import set_loss


def sentiment_losses(logits: Tensor, labels: Tensor, two_class: Tensor) -> Tensor:
    """Cross entropy [B] of logits [B, 3]; rows of two-class sources choose between negative and positive only.

    With the neutral logit in, a source that never says neutral would teach that nothing is.
    """
    masked = logits.clone()
    masked[two_class, NEUTRAL] = float("-inf")
    return functional.cross_entropy(masked, labels, reduction="none", ignore_index=IGNORED)


def topic_losses(logits: Tensor, allowed: Tensor) -> Tensor:
    """Set loss [B] of logits [B, K]; 0 for rows without an allowed column."""
    labelled = allowed.any(1)
    losses = torch.zeros(len(logits), device=logits.device)
    losses[labelled] = set_loss(logits[labelled], allowed[labelled])
    return losses


def tag_losses(logits: Tensor, tags: Tensor) -> Tensor:
    """Mean cross entropy over each row's labelled tokens [B] of logits [B, T, 7]; 0 for rows without any."""
    tokens = functional.cross_entropy(logits.transpose(1, 2), tags, reduction="none", ignore_index=IGNORED)
    counts = (tags != IGNORED).sum(1)
    return tokens.sum(1) / counts.clamp(min=1)


def batch_losses(outputs: tuple[Tensor, Tensor, Tensor], batch: Batch) -> dict[str, Tensor]:
    """Task -> the sum of its examples' losses, in float32."""
    sentiment, topic, tags = (output.float() for output in outputs)
    return {
        "sentiment": sentiment_losses(sentiment, batch.sentiment, batch.two_class).sum(),
        "topic": topic_losses(topic, batch.topics).sum(),
        "ner": tag_losses(tags, batch.tags).sum(),
    }
