"""The wide part beside the encoder: what single pieces, and pairs of neighbours, say of a text's topic.

A network of this size forgets words that a linear model remembers; their logits added up beat either. After Cheng et
al. 2016 (wide and deep learning) and Joulin et al. 2017 (pairs hashed into one table).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from worker.model.hashing import FIRST, PAIR, PRIME, SECOND, SINGLE
from worker.model.quantise import INT8_LIMIT


class WideTable(nn.Module):  # type: ignore[misc]  # torch is not installed where types are checked
    """Logits of K topics from a hashed table of int8 rows.

    Its buffers: `codes` int32 [V], the number by which each piece is hashed; `table` int8 [R, K]; `scales` float32 [K],
    what a step of each column is worth. Sums are of whole numbers, so that they are exact in any order.
    """

    def __init__(self, pieces: int, rows: int, topics: int) -> None:
        super().__init__()
        self.register_buffer("codes", torch.arange(pieces, dtype=torch.int32))
        self.register_buffer("table", torch.zeros(rows, topics, dtype=torch.int8))
        self.register_buffer("scales", torch.zeros(topics))

    def fill(self, learned: Tensor, share: float) -> None:
        """Take over a table, float [R, K], of whose logits a share is added to the encoder's."""
        wanted = learned * share
        self.scales.copy_((wanted.abs().amax(0) / INT8_LIMIT).clamp(min=1e-12))
        self.table.copy_((wanted / self.scales).round())

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        """Logits [B, K] for int64 ids and mask [B, T]."""
        return pooled(self._rows(input_ids), attention_mask) * self.scales

    def adds(self, input_ids: Tensor) -> Tensor:
        """What each token of one text [T] adds to its logits, [T, K]: of a pair, each token half."""
        singles, pairs = self._rows(input_ids[None])[0].chunk(2)
        pairs[-1] = 0  # the last token has none after it
        halves = pairs / 2
        return (singles + halves + halves.roll(1, 0)) * self.scales / len(input_ids) ** 0.5

    def _rows(self, input_ids: Tensor) -> Tensor:
        """The rows of a batch's tokens and pairs in whole steps, float32 [B, 2T, K]."""
        return self.table[places(self.codes[input_ids].long(), len(self.table))].float()


def places(codes: Tensor, rows: int) -> Tensor:
    """Where the T tokens of each text, and then its T pairs, stand in a table: int64 [B, 2T] of codes int64 [B, T].

    A token's pair is the one with the token after it; the last token's is not counted.
    """
    after = codes.roll(-1, 1)
    hashes = torch.cat([codes * SINGLE + 1, codes * FIRST + after * SECOND + PAIR], 1)
    return hashes % PRIME % rows


def pooled(rows: Tensor, attention_mask: Tensor) -> Tensor:
    """A text's rows [B, 2T, K], those that count, added up and divided by the root of its length: [B, K]."""
    total = (counted(attention_mask).unsqueeze(1) @ rows).squeeze(1)
    return total / attention_mask.sum(1, keepdim=True).sqrt()


def counted(attention_mask: Tensor) -> Tensor:
    """Which of `places` count, float32 [B, 2T]: real tokens, and pairs of two."""
    after = attention_mask.roll(-1, 1)
    after[:, -1] = 0
    return torch.cat([attention_mask, after], 1).float()
