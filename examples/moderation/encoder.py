"""The MiniLM sentence encoder with a logistic head as an ONNX graph, from the published weights alone."""

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

LAYERS, HEADS, WIDTH = 6, 12, 384
EPSILON = 1e-12
MASKED = -10_000.0
"""Added to the attention to tokens that only fill a text up."""
OPSET, IR = 17, 9
IDS, MASK, FEATURES, PROBABILITY = "input_ids", "attention_mask", "features", "probability"

Tensors = Mapping[str, NDArray[np.float32]]


def read_safetensors(content: bytes) -> Tensors:
    """Return the tensors of a safetensors file by name."""
    length = int.from_bytes(content[:8], "little")
    header = json.loads(content[8 : 8 + length])
    tensors = {}
    for name, entry in header.items():
        if name == "__metadata__" or entry["dtype"] != "F32":
            continue
        start, end = (8 + length + place for place in entry["data_offsets"])
        tensors[name] = np.frombuffer(content[start:end], np.float32).reshape(entry["shape"])
    return tensors


class Builder:
    """Nodes and weights of a graph in the making."""

    def __init__(self, tensors: Tensors) -> None:
        self.tensors = tensors
        self.nodes: list[onnx.NodeProto] = []
        self.weights: dict[str, onnx.TensorProto] = {}

    def constant(self, name: str, value: NDArray[np.generic]) -> str:
        """Return the name of a weight, added where it is new."""
        self.weights.setdefault(name, numpy_helper.from_array(np.ascontiguousarray(value), name))
        return name

    def add(self, kind: str, inputs: Sequence[str], name: str, **attributes: object) -> str:
        """Return the one output of a new node."""
        self.nodes.append(helper.make_node(kind, list(inputs), [name], name=name, **attributes))
        return name

    def linear(self, x: str, name: str) -> str:
        """Return a matrix product and its bias: the published weights are [out, in]."""
        weight = self.constant(f"{name}.weight", self.tensors[f"{name}.weight"].T)
        bias = self.constant(f"{name}.bias", self.tensors[f"{name}.bias"])
        return self.add("Add", (self.add("MatMul", (x, weight), f"{name}.product"), bias), name)

    def norm(self, x: str, name: str) -> str:
        """Return a layer norm."""
        scale, bias = (self.constant(f"{name}.{part}", self.tensors[f"{name}.{part}"]) for part in ("weight", "bias"))
        return self.add("LayerNormalization", (x, scale, bias), name, axis=-1, epsilon=EPSILON)

    def scalar(self, name: str, value: float) -> str:
        """Return a number as a weight."""
        return self.constant(name, np.array(value, np.float32))


def build_model(
    tensors: Tensors, weight: NDArray[np.float32], bias: NDArray[np.float32], length: int
) -> onnx.ModelProto:
    """Build the encoder with its head.

    Args:
        tensors: of the encoder, by their published names.
        weight: ``[features, labels]`` of the head.
        bias: ``[labels]``.
        length: tokens of an item.
    """
    builder = Builder(tensors)
    features = encode(builder, length)
    logit = builder.add(
        "Gemm", (features, builder.constant("head.weight", weight), builder.constant("head.bias", bias)), "logit"
    )
    builder.add("Sigmoid", (logit,), PROBABILITY)
    shape = ["batch", length]
    graph = helper.make_graph(
        builder.nodes,
        "moderation",
        [helper.make_tensor_value_info(name, TensorProto.INT64, shape) for name in (IDS, MASK)],
        [helper.make_tensor_value_info(PROBABILITY, TensorProto.FLOAT, ["batch", len(bias)])],
        list(builder.weights.values()),
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR)
    onnx.checker.check_model(model, full_check=True)
    return model


def encode(builder: Builder, length: int) -> str:
    """Embed the tokens, run the layers, and take the mean over the tokens that are there: ``[batch, 384]``."""
    tensors, add = builder.tensors, builder.add
    words = builder.constant("words", tensors["embeddings.word_embeddings.weight"])
    places = (
        tensors["embeddings.position_embeddings.weight"][:length]
        + tensors["embeddings.token_type_embeddings.weight"][0]
    )
    x = add("Add", (add("Gather", (words, IDS), "word"), builder.constant("places", places)), "embedded")
    x = builder.norm(x, "embeddings.LayerNorm")
    mask = add("Cast", (MASK,), "mask", to=TensorProto.FLOAT)
    absent = add("Sub", (builder.scalar("one", 1.0), mask), "absent")
    wide = add("Unsqueeze", (absent, builder.constant("axes", np.array([1, 2], np.int64))), "absent_wide")
    penalty = add("Mul", (wide, builder.scalar("masked", MASKED)), "penalty")
    for layer in range(LAYERS):
        x = encode_layer(builder, x, penalty, f"encoder.layer.{layer}", length)
    column = add("Unsqueeze", (mask, builder.constant("last", np.array([2], np.int64))), "mask_column")
    tokens = builder.constant("tokens", np.array([1], np.int64))
    total = add("ReduceSum", (add("Mul", (x, column), "present"), tokens), "total", keepdims=0)
    return add("Div", (total, add("ReduceSum", (column, tokens), "count", keepdims=0)), FEATURES)


def encode_layer(builder: Builder, x: str, penalty: str, name: str, length: int) -> str:
    """Attend, then feed forward."""
    add = builder.add
    split = builder.constant("split", np.array([0, length, HEADS, WIDTH // HEADS], np.int64))
    heads = {}
    for part, order in (("query", [0, 2, 1, 3]), ("key", [0, 2, 3, 1]), ("value", [0, 2, 1, 3])):
        flat = builder.linear(x, f"{name}.attention.self.{part}")
        parted = add("Reshape", (flat, split), f"{name}.{part}.parted")
        heads[part] = add("Transpose", (parted,), f"{name}.{part}.heads", perm=order)
    score = add("MatMul", (heads["query"], heads["key"]), f"{name}.score")
    scaled = add("Mul", (score, builder.scalar("scale", 1 / math.sqrt(WIDTH // HEADS))), f"{name}.scaled")
    share = add("Softmax", (add("Add", (scaled, penalty), f"{name}.masked"),), f"{name}.share", axis=-1)
    mixed = add(
        "Transpose", (add("MatMul", (share, heads["value"]), f"{name}.mixed"),), f"{name}.turned", perm=[0, 2, 1, 3]
    )
    joined = add("Reshape", (mixed, builder.constant("join", np.array([0, length, WIDTH], np.int64))), f"{name}.joined")
    attended = add("Add", (x, builder.linear(joined, f"{name}.attention.output.dense")), f"{name}.attended")
    x = builder.norm(attended, f"{name}.attention.output.LayerNorm")
    inner = gelu(builder, builder.linear(x, f"{name}.intermediate.dense"), f"{name}.gelu")
    fed = add("Add", (x, builder.linear(inner, f"{name}.output.dense")), f"{name}.fed")
    return builder.norm(fed, f"{name}.output.LayerNorm")


def gelu(builder: Builder, x: str, name: str) -> str:
    """``x (1 + erf(x / sqrt 2)) / 2``."""
    add = builder.add
    error = add("Erf", (add("Div", (x, builder.scalar("root_two", math.sqrt(2))), f"{name}.divided"),), f"{name}.erf")
    raised = add("Mul", (x, add("Add", (error, builder.scalar("one", 1.0)), f"{name}.raised")), f"{name}.times")
    return add("Mul", (raised, builder.scalar("half", 0.5)), name)


def save(model: onnx.ModelProto, path: Path) -> None:
    """Write the model and say how large it is."""
    onnx.save(model, path)
    print(f"{path.name}: {path.stat().st_size / 1e6:.1f} MB")
