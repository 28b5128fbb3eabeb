"""The encoder with the heads of pre-training: hidden pieces, and whether a text follows another."""

import torch
from torch import Tensor, nn
from torch.nn import functional
from transformers import BertModel
from transformers.models.bert.modeling_bert import BertPredictionHeadTransform

from worker.model.data import IGNORED
from worker.model.pretrain.batches import Batch


class PretrainBert(nn.Module):  # type: ignore[misc]  # torch is not installed where types are checked
    """The encoder, BERT's masked-word head tied to the word embeddings, and a sentence-pair head.

    The base brings neither head. The pair head reads the mean of the token vectors, as the network that is fine-tuned
    later does, and not the first one. The word embeddings are frozen, as in fine-tuning: they ship in 4 bits, which
    they would no longer fit, and languages without text here need them as they are.
    """

    def __init__(self, encoder: BertModel) -> None:
        super().__init__()
        self.config = encoder.config
        self.encoder = encoder
        self.transform = BertPredictionHeadTransform(encoder.config)
        self.piece_bias = nn.Parameter(torch.zeros(encoder.config.vocab_size))
        self.pair = nn.Linear(encoder.config.hidden_size, 2)
        encoder.embeddings.word_embeddings.weight.requires_grad_(False)

    def forward(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Logits of the hidden pieces [M, V] and of the pairs [B, 2] (not, does follow).

        Only the hidden places are multiplied with the vocabulary: all of them would cost as much as the encoder.
        """
        hidden = self.encoder(
            input_ids=batch.input_ids, attention_mask=batch.attention_mask, token_type_ids=batch.token_types
        ).last_hidden_state
        weights = batch.attention_mask.unsqueeze(-1).to(hidden.dtype)
        mean = (hidden * weights).sum(1) / weights.sum(1)
        places = self.transform(hidden.flatten(0, 1)[batch.places])
        words = self.encoder.embeddings.word_embeddings.weight
        return functional.linear(places, words, self.piece_bias), self.pair(mean)

    def heads(self) -> list[nn.Parameter]:
        """The weights that start from nothing."""
        return [*self.transform.parameters(), self.piece_bias, *self.pair.parameters()]


def pretrain_losses(outputs: tuple[Tensor, Tensor], batch: Batch) -> dict[str, Tensor]:
    """Sums over the batch: "pieces" and "pairs" (cross entropy), "piece_hits" and "pair_hits" (right answers)."""
    pieces, pairs = (output.float() for output in outputs)
    asked = batch.follows != IGNORED
    return {
        "pieces": functional.cross_entropy(pieces, batch.targets, reduction="sum"),
        "pairs": functional.cross_entropy(pairs, batch.follows, reduction="sum", ignore_index=IGNORED),
        "piece_hits": (pieces.argmax(1) == batch.targets).sum(),
        "pair_hits": (pairs.argmax(1) == batch.follows)[asked].sum(),
    }
