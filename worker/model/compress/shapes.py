"""Parts of a network: the chosen pieces, layers or attention heads, with their weights. The network itself stays."""

import copy
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from worker.model.attention_heads import PARTS, head_width, heads_of
from worker.model.network import MultiTaskBert

LAYERS = "encoder.encoder.layer."
WORDS = "encoder.embeddings.word_embeddings.weight"
CODES = "wide.codes"  # of the pieces, by which the wide part knows them


class CompressError(ValueError):
    """A network that cannot be made smaller in the way asked for; the message says what it can give."""


def keep_pieces(network: MultiTaskBert, keep: Sequence[int]) -> MultiTaskBert:
    """The network over the pieces of `keep`, which `trim_tokenizer` renumbers in the same order."""
    state = network.state_dict()
    for name in (WORDS, CODES) if network.wide is not None else (WORDS,):
        state[name] = state[name][torch.tensor(keep)]
    return _made(network, state, vocab_size=len(keep), pad_token_id=list(keep).index(network.config.pad_token_id))


def keep_layers(network: MultiTaskBert, keep: Sequence[int]) -> MultiTaskBert:
    """The network with these layers of the encoder, numbered from 0, in their order."""
    state = {name: value for name, value in network.state_dict().items() if not name.startswith(LAYERS)}
    for new, old in enumerate(keep):
        prefix = f"{LAYERS}{old}."
        state |= {
            f"{LAYERS}{new}.{name.removeprefix(prefix)}": value
            for name, value in network.state_dict().items()
            if name.startswith(prefix)
        }
    heads = heads_of(network.config)
    return _made(network, state, num_hidden_layers=len(keep), layer_heads=[heads[layer] for layer in keep])


def keep_heads(network: MultiTaskBert, keep: Sequence[Sequence[int]]) -> MultiTaskBert:
    """The network with these attention heads of each layer, numbered from 0 among those that it has; one at least."""
    state, size = network.state_dict(), head_width(network.config)
    for layer, heads in enumerate(keep):
        columns = torch.cat([torch.arange(head * size, (head + 1) * size) for head in heads])
        prefix = f"{LAYERS}{layer}.attention."
        for name in (f"{prefix}self.{part}.{kind}" for part in PARTS for kind in ("weight", "bias")):
            state[name] = state[name][columns]
        state[f"{prefix}output.dense.weight"] = state[f"{prefix}output.dense.weight"][:, columns]
    return _made(network, state, layer_heads=[len(heads) for heads in keep])


def _made(network: MultiTaskBert, state: dict[str, Tensor], **changes: Any) -> MultiTaskBert:
    config = copy.deepcopy(network.config)
    for name, value in changes.items():
        setattr(config, name, value)
    made = MultiTaskBert(config, network.topic.out_features, network.dropout.p)
    made.load_state_dict(state)
    made.eval()
    return made


def spread_layers(count: int, keep: int) -> list[int]:
    """`keep` of `count` layers, evenly spread, the last one always (Sanh et al. 2019 take every other).

    Raises:
        CompressError: there are not so many.
    """
    if not 1 <= keep <= count:
        raise CompressError(f"{keep} layers of {count}: keep 1 to {count}")
    return [(number + 1) * count // keep - 1 for number in range(keep)]
