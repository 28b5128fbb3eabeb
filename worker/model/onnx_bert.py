"""The shipped network as an ONNX graph, written operator by operator from its weights.

By hand rather than traced: the rows to quantise, the fused operators and the order of sums are what speed and the
promise of equal logits in any batch hang on. The algebra differs from torch's in three exact ways: the attention's
scale is folded into the query weights; the key bias is left out, because it adds the same to all scores of a query;
the value bias moves behind the attention, whose weights sum to one.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from worker.model.onnx_graph import FLOAT, FLOAT16, INT64, MICROSOFT, Graph, Port
from worker.model.onnx_linear import FloatLinear, Linear, Precision, RowInt8Linear
from worker.model.onnx_wide import wide_logits
from worker.model.quantise import BLOCK, HALF, NIBBLE_ZERO, pack_blocks

Floats = NDArray[np.float32]
MASKED = -1e4  # exp of it is exactly 0, so that padding takes no part at all


@dataclass(frozen=True)
class Shape:
    """The sizes of the encoder that its weights do not tell."""

    layers: int
    heads: int  # of a whole layer: what the width is divided by; pruned layers hold fewer
    epsilon: float  # of the layer norms


@dataclass(frozen=True)
class Sizes:
    """Names of int64 vectors: B [1], T [1], R = B * T [1], and the shapes that rows are laid out in."""

    graph: Graph
    batch: str
    tokens: str
    rows: str
    by_token: str  # [B, T, D]
    _by_head: dict[int, str] = field(default_factory=dict)

    @classmethod
    def of_input(cls, graph: Graph, width: int) -> Sizes:
        """Read the sizes off `input_ids`."""
        batch, tokens = (graph.op("Shape", "input_ids", start=axis, end=axis + 1) for axis in (0, 1))
        by_token = graph.op("Concat", batch, tokens, graph.ints(width), axis=0)
        return cls(graph, batch, tokens, graph.op("Mul", batch, tokens), by_token)

    def by_head(self, heads: int, head_width: int) -> str:
        """[B, T, heads, head_width]; layers of equal heads share it."""
        if heads not in self._by_head:
            size = self.graph.ints(heads, head_width)
            self._by_head[heads] = self.graph.op("Concat", self.batch, self.tokens, size, axis=0)
        return self._by_head[heads]


def build(weights: Mapping[str, Floats], shape: Shape, precision: Precision) -> bytes:
    """The serialised model.

    Args:
        weights: the state of `MultiTaskBert`, float32, by torch's names.
        precision: int4-embeddings keeps these in 4-bit blocks; int8 also the linear layers in int8; float16 computes
            and keeps everything below the heads in it. The heads are float32 in all.

    Inputs: input_ids and attention_mask, int64 [B, T], T up to the number of positions. Outputs, float32:
    sentiment_logits [B, 3], topic_logits [B, K], tag_logits [B, T, 7], token_sentiment_logits [B, T, 3].
    """
    graph = Graph()
    sizes = Sizes.of_input(graph, weights["encoder.embeddings.LayerNorm.bias"].size)
    numbers = np.float16 if precision == "float16" else np.float32
    linear: Linear = RowInt8Linear(graph, sizes.rows) if precision == "int8" else FloatLinear(graph, numbers)
    writer = BertWriter(graph, weights, shape, sizes, linear, numbers)
    mask = graph.op("Cast", "attention_mask", to=FLOAT)
    hidden = writer.embeddings(precision)
    attend = writer.attention_mask(mask)
    for layer in range(shape.layers):
        hidden = writer.layer(f"encoder.encoder.layer.{layer}.", hidden, attend)
    writer.heads(hidden, mask)
    topics = weights["topic.bias"].size
    inputs = [Port(name, INT64, ("B", "T")) for name in ("input_ids", "attention_mask")]
    outputs = [
        Port("sentiment_logits", FLOAT, ("B", weights["sentiment.bias"].size)),
        Port("topic_logits", FLOAT, ("B", topics)),
        Port("tag_logits", FLOAT, ("B", "T", weights["tags.bias"].size)),
        Port("token_sentiment_logits", FLOAT, ("B", "T", weights["sentiment.bias"].size)),
    ]
    return graph.model("analyzer", inputs, outputs)


@dataclass(frozen=True)
class BertWriter:
    """Writes the parts of the network; hidden states are [R, D] of the type `numbers`, in the heads float32."""

    graph: Graph
    weights: Mapping[str, Floats]
    shape: Shape
    sizes: Sizes
    linear: Linear
    numbers: type[np.floating]

    @property
    def width(self) -> int:
        """D, the width of the hidden states."""
        return int(self.weights["encoder.embeddings.LayerNorm.bias"].size)

    def constant(self, value: Floats) -> str:
        """The name of a constant of the type `numbers`."""
        return self.graph.constant(np.asarray(value, self.numbers))

    def weight(self, name: str) -> str:
        """The name of a constant that holds one of the weights."""
        return self.constant(self.weights[name])

    def embeddings(self, precision: Precision) -> str:
        """Words, positions and the first token type, normalised."""
        graph, prefix = self.graph, "encoder.embeddings."
        table = self.weights[prefix + "word_embeddings.weight"]
        packed = precision in {"int8", "int4-embeddings"}
        words = self._unpacked(table) if packed else graph.op("Gather", self.constant(table), "input_ids")
        kind = self.weights[prefix + "token_type_embeddings.weight"][0]
        positions = self.constant(self.weights[prefix + "position_embeddings.weight"] + kind)
        positions = graph.op("Slice", positions, graph.ints(0), self.sizes.tokens, graph.ints(0))
        hidden = self._norm(graph.op("Add", words, positions), prefix + "LayerNorm")
        return graph.op("Reshape", hidden, graph.ints(-1, self.width))

    def _unpacked(self, table: Floats) -> str:
        """Gather the 4-bit rows of the tokens and unpack those alone: `quantise.unpack_blocks` in ONNX."""
        graph, packed = self.graph, pack_blocks(table)
        rows = graph.op("Gather", graph.constant(packed.nibbles), "input_ids")
        scales = graph.op("Gather", graph.constant(packed.scales), "input_ids")
        blocks = graph.op("Reshape", rows, graph.ints(0, 0, self.width // BLOCK, HALF))
        low = graph.op("BitwiseAnd", blocks, graph.constant(np.uint8(15)))
        high = graph.op("BitShift", blocks, graph.constant(np.uint8(4)), direction="RIGHT")
        values = graph.op("Cast", graph.op("Concat", low, high, axis=3), to=FLOAT)
        values = graph.op("Sub", values, graph.constant(np.float32(NIBBLE_ZERO)))
        scales = graph.op("Unsqueeze", graph.op("Cast", scales, to=FLOAT), graph.ints(3))
        return graph.op("Reshape", graph.op("Mul", values, scales), graph.ints(0, 0, self.width))

    def attention_mask(self, mask: str) -> str:
        """What is added to the scores, [B, 1, 1, T]: 0 for tokens, `MASKED` for padding."""
        graph = self.graph
        hidden = graph.op("Sub", graph.constant(np.float32(1)), mask)
        added = self._cast(graph.op("Mul", hidden, graph.constant(np.float32(MASKED))), FLOAT16)
        return graph.op("Unsqueeze", added, graph.ints(1, 2))

    def layer(self, prefix: str, hidden: str, attend: str) -> str:
        """One encoder layer; `prefix` is its place in the state."""
        hidden = self._attention(prefix + "attention.", hidden, attend)
        wide = self.linear(hidden, self.weights[prefix + "intermediate.dense.weight"])
        # The tanh form of GELU: at most 0.0005 from the exact one, a tenth of a quantisation step, and 25 % faster.
        wide = self.graph.op("FastGelu", wide, self.weight(prefix + "intermediate.dense.bias"), domain=MICROSOFT)
        output = self.linear(wide, self.weights[prefix + "output.dense.weight"], "gelu")
        total = self.graph.op("Sum", output, hidden, self.weight(prefix + "output.dense.bias"))
        return self._norm(total, prefix + "output.LayerNorm")

    def _attention(self, prefix: str, hidden: str, attend: str) -> str:
        graph, weights, head_width = self.graph, self.weights, self.width // self.shape.heads
        width = weights[prefix + "self.query.bias"].size  # narrower than the hidden states where heads were pruned
        by_head = self.sizes.by_head(width // head_width, head_width)
        scale = np.float32(head_width**-0.5)

        def split(rows: str, order: list[int]) -> str:
            return graph.op("Transpose", graph.op("Reshape", rows, by_head), perm=order)

        query = self.linear(hidden, weights[prefix + "self.query.weight"] * scale)
        query = graph.op("Add", query, self.constant(weights[prefix + "self.query.bias"] * scale))
        key = self.linear(hidden, weights[prefix + "self.key.weight"])
        value = self.linear(hidden, weights[prefix + "self.value.weight"])
        scores = graph.op("MatMul", split(query, [0, 2, 1, 3]), split(key, [0, 2, 3, 1]))
        shares = graph.op("Softmax", graph.op("Add", scores, attend), axis=-1)
        mixed = graph.op("MatMul", shares, split(value, [0, 2, 1, 3]))
        mixed = graph.op("Reshape", graph.op("Transpose", mixed, perm=[0, 2, 1, 3]), graph.ints(-1, width))
        dense = weights[prefix + "output.dense.weight"]
        bias = weights[prefix + "output.dense.bias"] + dense @ weights[prefix + "self.value.bias"]
        total = graph.op("Sum", self.linear(mixed, dense), hidden, self.constant(bias))
        return self._norm(total, prefix + "output.LayerNorm")

    def _norm(self, rows: str, name: str) -> str:
        """Layer norm over the last axis. Not SkipLayerNormalization: that takes 8 times as long in onnxruntime 1.32."""
        scale, bias = self.weight(name + ".weight"), self.weight(name + ".bias")
        return self.graph.op("LayerNormalization", rows, scale, bias, axis=-1, epsilon=self.shape.epsilon)

    def heads(self, hidden: str, mask: str) -> None:
        """Sentiment and topic from the mean of the token vectors; tags, and sentiment again, from each vector."""
        graph = self.graph
        more = {"topic_logits": wide_logits(graph, self.weights, mask)} if "wide.table" in self.weights else {}
        hidden = self._cast(graph.op("Reshape", hidden, self.sizes.by_token), FLOAT)
        total = graph.op("MatMul", graph.op("Unsqueeze", mask, graph.ints(1)), hidden)
        count = graph.op("ReduceSum", mask, graph.ints(1), keepdims=1)
        mean = graph.op("Div", graph.op("Squeeze", total, graph.ints(1)), count)
        for head, source, output in (
            ("sentiment", mean, "sentiment_logits"),
            ("topic", mean, "topic_logits"),
            ("tags", hidden, "tag_logits"),
            ("sentiment", hidden, "token_sentiment_logits"),
        ):
            weight = graph.constant(np.ascontiguousarray(self.weights[f"{head}.weight"].T))
            product = graph.op("MatMul", source, weight)
            logits = graph.op("Add", product, graph.constant(self.weights[f"{head}.bias"]))
            graph.rename(graph.op("Add", logits, more[output]) if output in more else logits, output)

    def _cast(self, value: str, to: int) -> str:
        """Between float32 and `numbers`; nothing to do where they are the same."""
        return self.graph.op("Cast", value, to=to) if self.numbers is np.float16 else value
