"""The network back from a served bundle, so that training can go on from the file that ships, and others be made of it.

What the export folded stays folded: zero key and value biases, and the token type inside the positions, compute the
same. What it rounded stays rounded: the linear layers come back with the steps of int8, the word embeddings exactly.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from onnx import numpy_helper
from tokenizers import Tokenizer
from transformers import BertConfig

from worker.model import checkpoint
from worker.model.checkpoint import CheckpointError, Labels
from worker.model.network import MultiTaskBert
from worker.model.quantise import Blocks, unpack_blocks

Array = NDArray[Any]
HEADS = ("sentiment", "topic", "tags")
LINEARS = 6  # of a layer


def load_network(folder: Path) -> tuple[MultiTaskBert, Tokenizer, Labels]:
    """Read a checkpoint, or an int8 bundle as if it were one.

    Raises:
        CheckpointError: `folder` is neither.
    """
    return (load_served if (folder / "bundle.json").is_file() else checkpoint.load)(folder)


def load_served(folder: Path) -> tuple[MultiTaskBert, Tokenizer, Labels]:
    """Read an int8 bundle that `polyvox model export` wrote, as `checkpoint.load` reads a checkpoint.

    Raises:
        CheckpointError: `folder` holds no such bundle.
    """
    try:
        manifest = json.loads((folder / "bundle.json").read_text(encoding="utf-8"))
        file = _File(onnx.load(str(folder / "model.onnx")))
        state = _state(file)
    except (OSError, KeyError, ValueError, IndexError) as error:
        raise CheckpointError(f"{folder} is not an int8 bundle of `polyvox model export` ({error!r})") from error
    width = state["encoder.embeddings.LayerNorm.bias"].size
    config = BertConfig(
        vocab_size=len(state["encoder.embeddings.word_embeddings.weight"]),
        hidden_size=width,
        num_hidden_layers=file.layers,
        num_attention_heads=width // file.head_width,
        layer_heads=file.layer_heads(),
        intermediate_size=state["encoder.encoder.layer.0.intermediate.dense.bias"].size,
        max_position_embeddings=len(state["encoder.embeddings.position_embeddings.weight"]),
        type_vocab_size=1,
        layer_norm_eps=file.epsilon,
        pad_token_id=manifest["pad_id"],
        hidden_dropout_prob=0.0,
        attention_probs_dropout_prob=0.0,
    )
    config.wide_rows = len(state["wide.table"]) if "wide.table" in state else 0
    network = MultiTaskBert(config, len(manifest["topics"]))
    network.load_state_dict({name: torch.from_numpy(np.array(value, order="C")) for name, value in state.items()})
    labels = Labels(
        topics=tuple(manifest["topics"]),
        base=manifest["base"],
        window_tokens=manifest["window_tokens"],
        languages=tuple(manifest["languages"]),
        sentiment=tuple(manifest["sentiment"]),
        tags=tuple(manifest["tags"]),
        licence=manifest.get("licence", "any"),
    )
    return network.eval(), Tokenizer.from_file(str(folder / "tokenizer.json")), labels


class _File:
    """The constants of a graph that `onnx_bert.build` wrote, found by the operators that read them, in their order."""

    def __init__(self, model: Any) -> None:
        self._constants = {each.name: each for each in model.graph.initializer}
        self._nodes = model.graph.node
        self.layers = (len(self._of("LayerNormalization")) - 1) // 2
        [self.epsilon] = {_attribute(node, "epsilon") for node in self._of("LayerNormalization")}

    def read(self, kind: str) -> Iterator[tuple[Array, ...]]:
        """The constant inputs of every operator of a kind."""
        for node in self._of(kind):
            yield tuple(numpy_helper.to_array(self._constants[name]) for name in node.input if name in self._constants)

    @property
    def head_width(self) -> int:
        """Columns of an attention head: of the constants [heads, columns] that hidden states are split by."""
        shapes = [each[0] for each in self.read("Concat") if each and each[0].shape == (2,)]
        [columns] = {int(shape[1]) for shape in shapes}
        return columns

    def layer_heads(self) -> list[int]:
        """Attention heads of each layer; pruned layers hold fewer than others. The query is its first product."""
        queries = list(self.read("MatMulIntegerToFloat"))[::LINEARS]
        return [int(codes.shape[1]) // self.head_width for codes, *_ in queries]

    def _of(self, kind: str) -> list[Any]:
        return [node for node in self._nodes if node.op_type == kind]


def _attribute(node: Any, name: str) -> float:
    return next(float(each.f) for each in node.attribute if each.name == name)


def _state(file: _File) -> dict[str, Array]:
    """The weights by torch's names."""
    gathers = file.read("Gather")
    [nibbles], [scales] = next(gathers), next(gathers)
    positions = next(file.read("Slice"))[0]
    prefix = "encoder.embeddings."
    state: dict[str, Array] = {
        prefix + "word_embeddings.weight": unpack_blocks(Blocks(nibbles, scales)),
        prefix + "position_embeddings.weight": positions,
        prefix + "token_type_embeddings.weight": np.zeros((1, positions.shape[1]), np.float32),
    }
    norms, linears = file.read("LayerNormalization"), file.read("MatMulIntegerToFloat")
    adds = (each[0] for each in file.read("Add") if each and each[0].ndim == 1)
    sums, gelus = file.read("Sum"), file.read("FastGelu")

    def norm(name: str) -> None:
        state[name + ".weight"], state[name + ".bias"] = next(norms)

    def linear(name: str, bias: Array | None, factor: float = 1.0) -> None:
        codes, _, column_scales, _ = next(linears)
        weight = (codes.astype(np.float32) * column_scales).T * np.float32(factor)
        state[name + ".weight"] = weight
        state[name + ".bias"] = np.zeros(len(weight), np.float32) if bias is None else bias * np.float32(factor)

    norm(prefix + "LayerNorm")
    scale = file.head_width**0.5  # the export folds its inverse into the query
    for number in range(file.layers):
        layer = f"encoder.encoder.layer.{number}."
        linear(layer + "attention.self.query", next(adds), scale)
        linear(layer + "attention.self.key", None)
        linear(layer + "attention.self.value", None)
        linear(layer + "attention.output.dense", next(sums)[0])
        norm(layer + "attention.output.LayerNorm")
        linear(layer + "intermediate.dense", next(gelus)[0])
        linear(layer + "output.dense", next(sums)[0])
        norm(layer + "output.LayerNorm")
    weights = (each[0] for each in file.read("MatMul") if each)
    for head in HEADS:
        state[head + ".weight"], state[head + ".bias"] = next(weights).T, next(adds)
    # Two more gathers behind those of the embeddings, where there is a wide part.
    for codes, table in zip(gathers, gathers, strict=True):
        [scales] = (each[0] for each in file.read("Mul") if each and each[0].ndim == 1)
        state |= {"wide.codes": codes[0], "wide.table": table[0], "wide.scales": scales}
    return state
