"""R-Drop (Liang et al. 2021): two passes over a batch differ by dropout alone, and should say the same."""

from torch import Tensor
from torch.nn import functional

from worker.model.batches import Batch
from worker.model.data import IGNORED

Outputs = tuple[Tensor, ...]  # of the network: sentiment [B, 3], topic [B, K] first


def disagreement(first: Outputs, second: Outputs, batch: Batch) -> dict[str, Tensor]:
    """Task -> the sum over its labelled rows of half the KL divergences in both directions, in float32."""
    labelled = {"sentiment": batch.sentiment != IGNORED, "topic": batch.topics.any(1)}
    return {
        name: symmetric_kl(first[at][rows].float(), second[at][rows].float()).sum()
        for at, (name, rows) in enumerate(labelled.items())
    }


def symmetric_kl(first: Tensor, second: Tensor) -> Tensor:
    """(KL(p, q) + KL(q, p)) / 2 of each row [B] of two sets of logits [B, C]."""
    p, q = functional.log_softmax(first, -1), functional.log_softmax(second, -1)
    return ((p.exp() - q.exp()) * (p - q)).sum(-1) / 2
