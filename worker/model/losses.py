"""The loss of a mixed batch: every example counts by its task's weight, whatever its batch mates are."""

import torch
from torch import Tensor
from torch.nn import functional

from worker.model.batches import Batch
from worker.model.data import IGNORED, NEUTRAL
from worker.model.topics import set_loss

EVEN = (1.0, 1.0, 1.0)


def sentiment_losses(
    logits: Tensor, labels: Tensor, two_class: Tensor, class_weights: tuple[float, ...] = EVEN
) -> Tensor:
    """Cross entropy [B] of logits [B, 3]; rows of two-class sources choose between negative and positive only.

    With the neutral logit in, a source that never says neutral would teach that nothing is. Each row counts by the
    weight of its class.
    """
    masked = logits.clone()
    masked[two_class, NEUTRAL] = float("-inf")
    weights = None if class_weights == EVEN else logits.new_tensor(class_weights)
    return functional.cross_entropy(masked, labels, weights, reduction="none", ignore_index=IGNORED)


def part_losses(token_logits: Tensor, batch: Batch, class_weights: tuple[float, ...] = EVEN) -> Tensor:
    """The sentiment loss of each part's mean token logits [B, T, 3], mean over a row's parts [B]; 0 without parts.

    The head is linear: the mean of its logits over some tokens is its answer to their mean.
    """
    weights = batch.parts.to(token_logits.dtype)
    means = (weights @ token_logits) / weights.sum(2, keepdim=True).clamp(min=1)
    losses = sentiment_losses(
        means.flatten(0, 1), batch.part_sentiment.flatten(), batch.part_two_class.flatten(), class_weights
    )
    return losses.reshape(batch.part_sentiment.shape).sum(1) / (batch.part_sentiment != IGNORED).sum(1).clamp(min=1)


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


def batch_losses(
    outputs: tuple[Tensor, ...], batch: Batch, class_weights: tuple[float, ...] = EVEN
) -> dict[str, Tensor]:
    """Task -> the sum of its examples' losses, in float32."""
    sentiment, topic, tags, token_sentiment = (output.float() for output in outputs)
    of_posts = sentiment_losses(sentiment, batch.sentiment, batch.two_class, class_weights)
    return {
        "sentiment": (of_posts + part_losses(token_sentiment, batch, class_weights)).sum(),
        "topic": topic_losses(topic, batch.topics).sum(),
        "ner": tag_losses(tags, batch.tags).sum(),
    }
