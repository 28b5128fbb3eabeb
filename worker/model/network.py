"""The shipped network: one BERT encoder, three linear heads, a wide part beside one of them, one pass."""

import torch
from torch import Tensor, nn
from transformers import BertConfig, BertModel

from worker.model.attention_heads import shape_heads
from worker.model.wide import WideTable

SENTIMENT_LABELS = ("negative", "neutral", "positive")
TAG_LABELS = ("O", "B-PER", "I-PER", "B-ORG", "I-ORG", "B-LOC", "I-LOC")


class MultiTaskBert(nn.Module):  # type: ignore[misc]  # torch is not installed where types are checked
    """Sentiment and topic read the mean of the token vectors, tags read each token's vector.

    `embeddings.position_ids` and friends are BertModel's own; the heads are `sentiment`, `topic` and `tags`. Where
    `config.wide_rows` is set, a table of so many rows, `wide`, adds to the logits of the topics.
    """

    def __init__(self, config: BertConfig, topic_count: int, dropout: float = 0.1) -> None:
        super().__init__()
        self.config = config
        self.encoder = BertModel(config, add_pooling_layer=False)
        shape_heads(self.encoder)
        self.dropout = nn.Dropout(dropout)
        self.sentiment = nn.Linear(config.hidden_size, len(SENTIMENT_LABELS))
        self.topic = nn.Linear(config.hidden_size, topic_count)
        self.tags = nn.Linear(config.hidden_size, len(TAG_LABELS))
        rows = getattr(config, "wide_rows", 0)
        self.wide = WideTable(config.vocab_size, rows, topic_count) if rows else None

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Logits for one padded batch.

        input_ids, attention_mask: int64 [B, T]. Returns (sentiment [B, 3], topic [B, K], tags [B, T, 7],
        token sentiment [B, T, 3]); columns in the order of SENTIMENT_LABELS, the label table's topics, TAG_LABELS.
        """
        hidden = self.encoder(input_ids=input_ids, attention_mask=attention_mask).last_hidden_state
        sentiment, topic, tags, token_sentiment = self.answers(hidden, attention_mask)
        if self.wide is not None:
            topic = topic + self.wide(input_ids, attention_mask)
        return sentiment, topic, tags, token_sentiment

    def answers(self, hidden: Tensor, attention_mask: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """What the heads make of the last layer's vectors, float [B, T, D]; logits as `forward` without a wide part."""
        weights = attention_mask.unsqueeze(-1).to(hidden.dtype)
        # Every row holds at least BOS and EOS, so the divisor is never zero.
        mean = self.dropout((hidden * weights).sum(1) / weights.sum(1))
        tokens = self.dropout(hidden)
        return self.sentiment(mean), self.topic(mean), self.tags(tokens), self.sentiment(tokens)


def narrow_state(network: MultiTaskBert) -> dict[str, Tensor]:
    """The weights by their names, without those of a wide part."""
    return {name: value for name, value in network.state_dict().items() if not name.startswith("wide.")}


def trainable_parts(network: MultiTaskBert) -> tuple[list[nn.Parameter], list[nn.Parameter]]:
    """(encoder weights without the word embeddings, head weights); freezes the word embeddings in place.

    The word embeddings stay as pre-trained: languages without labelled text need them, and 60 % of the weights cost no
    time.
    """
    network.encoder.embeddings.word_embeddings.weight.requires_grad_(False)
    encoder = [p for p in network.encoder.parameters() if p.requires_grad]
    heads = [p for head in (network.sentiment, network.topic, network.tags) for p in head.parameters()]
    return encoder, heads


def device_of(network: nn.Module) -> torch.device:
    """Where the network's weights lie."""
    return next(network.parameters()).device
