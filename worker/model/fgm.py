"""FGM (Miyato et al. 2017): train also on embeddings shifted the way that hurts most.

The word embeddings are frozen, so the shift is read from, and added to, what their table answers.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor

from worker.model.network import MultiTaskBert


@contextmanager
def watched(network: MultiTaskBert) -> Iterator[list[Tensor]]:
    """Inside, every pass appends its word vectors [B, T, H]; after `backward` their `.grad` is there."""
    seen: list[Tensor] = []

    def watch(_module: Any, _inputs: Any, vectors: Tensor) -> Tensor:
        vectors = vectors if vectors.requires_grad else vectors.detach().requires_grad_()
        vectors.retain_grad()
        seen.append(vectors)
        return vectors

    hook = network.encoder.embeddings.word_embeddings.register_forward_hook(watch)
    try:
        yield seen
    finally:
        hook.remove()


@contextmanager
def shifted(network: MultiTaskBert, shift: Tensor) -> Iterator[None]:
    """Inside, `shift` [B, T, H] is added to the word vectors."""
    hook = network.encoder.embeddings.word_embeddings.register_forward_hook(lambda _m, _i, vectors: vectors + shift)
    try:
        yield
    finally:
        hook.remove()


def worst_shift(seen: Sequence[Tensor], length: float) -> Tensor:
    """The watched passes' gradient, scaled to `length` for each text (0 where there is none)."""
    gradient = torch.stack([vectors.grad for vectors in seen if vectors.grad is not None]).sum(0)
    return length * gradient / gradient.norm(dim=(1, 2), keepdim=True).clamp(min=1e-12)
