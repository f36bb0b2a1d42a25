"""A Llama-like decoder as an ONNX graph with a key-value cache, out of standard operators.

Inputs ``input_ids [batch, sequence]``, ``attention_mask [batch, past + sequence]``, ``position_ids [batch, sequence]``,
all int64, and for each layer ``past_key_values.N.key`` and ``.value``, ``[batch, heads, past, size] float32``. Outputs
``logits [batch, sequence, vocabulary]`` and ``present.N.key`` and ``.value`` over past and sequence: the interface of
Hugging Face Optimum's exports.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

Weights = dict[str, NDArray[np.float32]]
"""By the names that GGUF gives them, ``[out, in]``."""
OPSET = 18
MASKED = -1e4
"""Added to the score of a key that may not be looked at; within reach of 16-bit floats, and exp of it is 0."""


@dataclass(frozen=True)
class Configuration:
    """Sizes of the decoder.

    Attributes:
        layers: decoder blocks.
        hidden: width of the residual stream.
        inner: width of the feed-forward network.
        heads: query heads.
        cached_heads: key and value heads; each serves ``heads / cached_heads`` query heads.
        head_size: width of a head, all of it rotated.
        vocabulary: number of tokens.
        context: the most tokens that the model was trained to look back on, itself included.
        base: of the rotary frequencies.
        epsilon: of the root mean square norms.
    """

    layers: int
    hidden: int
    inner: int
    heads: int
    cached_heads: int
    head_size: int
    vocabulary: int
    context: int
    base: float
    epsilon: float


class Graph:
    """Collects nodes and initializers; every method returns the name of what it made."""

    def __init__(self) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.initializers: dict[str, onnx.TensorProto] = {}

    def constant(self, name: str, value: NDArray[np.generic]) -> str:
        """An initializer; one of the same name is the same."""
        if name not in self.initializers:
            self.initializers[name] = numpy_helper.from_array(np.ascontiguousarray(value), name)
        return name

    def integers(self, *values: int) -> str:
        """A list of int64."""
        return self.constant(f"integers_{'_'.join(map(str, values))}", np.array(values, np.int64))

    def number(self, value: float) -> str:
        """A float32 scalar."""
        return self.constant(f"number_{value:g}", np.array(value, np.float32))

    def add(self, operator: str, name: str, inputs: Sequence[str], output: str = "", **attributes: object) -> str:
        """A node of one output."""
        output = output or f"{name}_output_0"
        self.nodes.append(helper.make_node(operator, list(inputs), [output], name=name, **attributes))
        return output

    def split(self, name: str, value: str, axis: int, lengths: tuple[int, int]) -> tuple[str, str]:
        """A value in two parts along an axis."""
        outputs = (f"{name}_output_0", f"{name}_output_1")
        self.nodes.append(helper.make_node("Split", [value, self.integers(*lengths)], outputs, name=name, axis=axis))
        return outputs


def build_decoder(size: Configuration, weights: Weights) -> onnx.ModelProto:
    """The whole model."""
    graph = Graph()
    rotation = add_rotation(graph, size)
    bias = add_mask(graph)
    embeddings = graph.constant("model.embed_tokens.weight", weights["token_embd.weight"])
    hidden = graph.add("Gather", "/model/embed_tokens/Gather", [embeddings, "input_ids"])
    for layer in range(size.layers):
        hidden = add_layer(graph, size, weights, layer, hidden, rotation, bias)
    hidden = add_norm(graph, "/model/norm", size, hidden, weights["output_norm.weight"])
    head = weights.get("output.weight", weights["token_embd.weight"])  # tied where it has none of its own
    graph.add("MatMul", "/lm_head/MatMul", [hidden, graph.constant("lm_head.weight", head.T)], "logits")
    return finish(graph, size)


def add_rotation(graph: Graph, size: Configuration) -> tuple[str, str]:
    """Cosine and sine of every position's angles, ``[batch, 1, sequence, head_size]``; the sine with the pair's sign.

    They are read from tables: products of large positions would lose their phase in 16-bit floats. A position beyond
    the context has no row, so that it fails instead of giving nonsense.
    """
    frequencies = size.base ** (-np.arange(0, size.head_size, 2, dtype=np.float64) / size.head_size)
    angles = np.arange(size.context, dtype=np.float64)[:, None] * np.tile(frequencies, 2)
    found = []
    signs = np.repeat([-1.0, 1.0], size.head_size // 2)
    for name, table in (("cos", np.cos(angles)), ("sin", signs * np.sin(angles))):
        stored = graph.constant(f"model.rotary.{name}", table.astype(np.float32))
        rows = graph.add("Gather", f"/model/rotary/{name}/Gather", [stored, "position_ids"])
        found.append(graph.add("Unsqueeze", f"/model/rotary/{name}/Unsqueeze", [rows, graph.integers(1)]))
    return found[0], found[1]


def add_mask(graph: Graph) -> str:
    """What is added to the scores, ``[batch, 1, sequence, past + sequence]``: 0, or ``MASKED``.

    A token looks at itself and at what came before, but for keys whose attention mask is 0.
    """
    where = "/model/mask"
    shape = graph.add("Shape", f"{where}/Shape", ["attention_mask"])
    total = graph.add("Gather", f"{where}/Total", [shape, graph.constant("index_1", np.array(1, np.int64))])
    new = graph.add("Shape", f"{where}/NewShape", ["input_ids"])
    count = graph.add("Gather", f"{where}/Count", [new, graph.constant("index_1", np.array(1, np.int64))])
    start = graph.add("Sub", f"{where}/Start", [total, count])
    one, zero = (graph.constant(f"index_{value}", np.array(value, np.int64)) for value in (1, 0))
    keys = graph.add("Range", f"{where}/Keys", [zero, total, one])
    queries = graph.add("Range", f"{where}/Queries", [start, total, one])
    column = graph.add("Unsqueeze", f"{where}/Column", [queries, graph.integers(1)])
    causal = graph.add("LessOrEqual", f"{where}/Causal", [keys, column])
    given = graph.add("Cast", f"{where}/Given", ["attention_mask"], to=TensorProto.BOOL)
    spread = graph.add("Unsqueeze", f"{where}/Spread", [given, graph.integers(1, 2)])
    seen = graph.add("And", f"{where}/Seen", [causal, spread])
    return graph.add("Where", f"{where}/Where", [seen, graph.number(0.0), graph.number(MASKED)])


def add_norm(graph: Graph, where: str, size: Configuration, hidden: str, scale: NDArray[np.float32]) -> str:
    """Root mean square norm (Zhang and Sennrich 2019), in the form that runtimes recognise."""
    square = graph.add("Pow", f"{where}/Pow", [hidden, graph.number(2.0)])
    mean = graph.add("ReduceMean", f"{where}/ReduceMean", [square, graph.integers(-1)], keepdims=1)
    safe = graph.add("Add", f"{where}/Add", [mean, graph.constant("model.epsilon", np.array(size.epsilon, np.float32))])
    root = graph.add("Sqrt", f"{where}/Sqrt", [safe])
    even = graph.add("Div", f"{where}/Div", [hidden, root])
    name = f"{where.strip('/').replace('/', '.')}.weight"
    return graph.add("Mul", f"{where}/Mul", [even, graph.constant(name, scale)])


def add_product(graph: Graph, where: str, hidden: str, weight: NDArray[np.float32]) -> str:
    """A linear layer without bias; ``weight [out, in]`` is stored as ``[in, out]``."""
    name = f"{where.strip('/').replace('/', '.')}.weight"
    return graph.add("MatMul", f"{where}/MatMul", [hidden, graph.constant(name, weight.T)])


def add_layer(
    graph: Graph, size: Configuration, weights: Weights, layer: int, hidden: str, rotation: tuple[str, str], bias: str
) -> str:
    """One decoder block: attention and feed-forward network, each behind a norm and beside a shortcut."""
    where, block = f"/model/layers.{layer}", f"blk.{layer}"
    normed = add_norm(graph, f"{where}/input_layernorm", size, hidden, weights[f"{block}.attn_norm.weight"])
    attended = add_attention(graph, size, weights, layer, normed, rotation, bias)
    hidden = graph.add("Add", f"{where}/Add", [hidden, attended])
    normed = add_norm(graph, f"{where}/post_attention_layernorm", size, hidden, weights[f"{block}.ffn_norm.weight"])
    gate = add_product(graph, f"{where}/mlp/gate_proj", normed, weights[f"{block}.ffn_gate.weight"])
    wide = add_product(graph, f"{where}/mlp/up_proj", normed, weights[f"{block}.ffn_up.weight"])
    sigmoid = graph.add("Sigmoid", f"{where}/mlp/act_fn/Sigmoid", [gate])
    active = graph.add("Mul", f"{where}/mlp/act_fn/Mul", [gate, sigmoid])
    inner = graph.add("Mul", f"{where}/mlp/Mul", [active, wide])
    narrow = add_product(graph, f"{where}/mlp/down_proj", inner, weights[f"{block}.ffn_down.weight"])
    return graph.add("Add", f"{where}/Add_1", [hidden, narrow])


def add_attention(
    graph: Graph, size: Configuration, weights: Weights, layer: int, hidden: str, rotation: tuple[str, str], bias: str
) -> str:
    """Grouped-query attention with the cache (Ainslie et al. 2023).

    The queries that share a key head are laid one after the other along the sequence, so that keys and values are
    never copied for each of them.
    """
    where, block = f"/model/layers.{layer}/self_attn", f"blk.{layer}"
    group, turned = size.heads // size.cached_heads, size.heads + size.cached_heads
    whole = np.concatenate([weights[f"{block}.attn_{kind}.weight"] for kind in "qkv"])
    heads = split_heads(graph, where, add_product(graph, f"{where}/qkv_proj", hidden, whole), size)
    both, value = graph.split(f"{where}/Kinds", heads, 1, (turned, size.cached_heads))
    query, key = graph.split(
        f"{where}/Turned", add_turn(graph, where, size, both, rotation), 1, (size.heads, size.cached_heads)
    )
    past = f"past_key_values.{layer}"
    key = graph.add("Concat", f"{where}/k/Concat", [f"{past}.key", key], f"present.{layer}.key", axis=2)
    value = graph.add("Concat", f"{where}/v/Concat", [f"{past}.value", value], f"present.{layer}.value", axis=2)
    scaled = graph.add("Mul", f"{where}/Scale", [query, graph.number(size.head_size**-0.5)])
    grouped = graph.add("Reshape", f"{where}/Group", [scaled, graph.integers(0, size.cached_heads, -1, size.head_size)])
    columns = graph.add("Transpose", f"{where}/k/Turn", [key], perm=[0, 1, 3, 2])
    scores = graph.add("MatMul", f"{where}/Scores", [grouped, columns])
    if group > 1:
        # [batch, cached_heads, group * sequence, total] to [batch, heads, sequence, total] and back
        total = graph.add("Shape", f"{where}/ScoresShape", [bias], start=2)
        apart = graph.add("Concat", f"{where}/Apart", [graph.integers(0, size.heads), total], axis=0)
        scores = graph.add("Reshape", f"{where}/Ungroup", [scores, apart])
    masked = graph.add("Add", f"{where}/Mask", [scores, bias])
    shares = graph.add("Softmax", f"{where}/Softmax", [masked], axis=-1)
    if group > 1:
        length = graph.add("Shape", f"{where}/Total", [bias], start=3)
        close = graph.add("Concat", f"{where}/Close", [graph.integers(0, size.cached_heads, -1), length], axis=0)
        shares = graph.add("Reshape", f"{where}/Regroup", [shares, close])
    mixed = graph.add("MatMul", f"{where}/Mix", [shares, value])
    heads = graph.add("Reshape", f"{where}/Heads", [mixed, graph.integers(0, size.heads, -1, size.head_size)])
    last = graph.add("Transpose", f"{where}/Last", [heads], perm=[0, 2, 1, 3])
    flat = graph.add("Reshape", f"{where}/Flat", [last, graph.integers(0, 0, size.heads * size.head_size)])
    return add_product(graph, f"{where}/o_proj", flat, weights[f"{block}.attn_output.weight"])


def split_heads(graph: Graph, where: str, projected: str, size: Configuration) -> str:
    """``[batch, sequence, heads * size]``, heads of every kind, to ``[batch, heads, sequence, size]``."""
    apart = graph.add("Reshape", f"{where}/Reshape", [projected, graph.integers(0, 0, -1, size.head_size)])
    return graph.add("Transpose", f"{where}/Transpose", [apart], perm=[0, 2, 1, 3])


def add_turn(graph: Graph, where: str, size: Configuration, heads: str, rotation: tuple[str, str]) -> str:
    """Rotate by position (Su et al. 2021); the first half of a head is paired with the second."""
    half, cosine, sine = size.head_size // 2, *rotation
    first, second = graph.split(f"{where}/Halves", heads, -1, (half, half))
    swapped = graph.add("Concat", f"{where}/Swap", [second, first], axis=-1)
    straight = graph.add("Mul", f"{where}/Cosine", [heads, cosine])
    across = graph.add("Mul", f"{where}/Sine", [swapped, sine])
    return graph.add("Add", f"{where}/Rotate", [straight, across])


def finish(graph: Graph, size: Configuration) -> onnx.ModelProto:
    """The model with its interface."""
    total = "past_sequence_length + sequence_length"
    inputs = [
        helper.make_tensor_value_info("input_ids", TensorProto.INT64, ["batch", "sequence_length"]),
        helper.make_tensor_value_info("attention_mask", TensorProto.INT64, ["batch", total]),
        helper.make_tensor_value_info("position_ids", TensorProto.INT64, ["batch", "sequence_length"]),
    ]
    logits = ["batch", "sequence_length", size.vocabulary]
    outputs = [helper.make_tensor_value_info("logits", TensorProto.FLOAT, logits)]
    for layer in range(size.layers):
        for kind in ("key", "value"):
            for name, length, into in (
                (f"past_key_values.{layer}.{kind}", "past_sequence_length", inputs),
                (f"present.{layer}.{kind}", total, outputs),
            ):
                shape = ["batch", size.cached_heads, length, size.head_size]
                into.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, shape))
    made = helper.make_graph(graph.nodes, "decoder", inputs, outputs, list(graph.initializers.values()))
    return helper.make_model(made, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=9)
