"""Encoders whose layers hold different numbers of attention heads: `config.layer_heads`, where it is set."""

from torch import nn
from transformers import BertConfig, BertModel

PARTS = ("query", "key", "value")


def head_width(config: BertConfig) -> int:
    """Columns of one head; pruning does not change it."""
    return int(config.hidden_size // config.num_attention_heads)


def heads_of(config: BertConfig) -> list[int]:
    """The number of heads of each layer."""
    return list(getattr(config, "layer_heads", None) or [config.num_attention_heads] * config.num_hidden_layers)


def shape_heads(encoder: BertModel) -> None:
    """Give each layer the heads that the configuration says; those that differ get fresh weights of their size.

    transformers 5 has no pruned heads; its attention reads the number of heads off the width of the projections.
    """
    config = encoder.config
    for layer, heads in zip(encoder.encoder.layer, heads_of(config), strict=True):
        if heads == config.num_attention_heads:
            continue
        attention, width = layer.attention, heads * head_width(config)
        for part in PARTS:
            setattr(attention.self, part, nn.Linear(config.hidden_size, width))
        attention.output.dense = nn.Linear(width, config.hidden_size)
        attention.self.num_attention_heads, attention.self.all_head_size = heads, width
