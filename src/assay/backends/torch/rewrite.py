"""Finds products between quantize/dequantize pairs that can run on integers, and puts integer products in their place.

A product takes codes where its input and its weight are dequantized right before it. A bias, a Relu and the quantizer
behind it are taken in where nothing else reads what stands between. What is left of the pairs is computed as it
stands.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import onnx
from onnx import helper, numpy_helper

DOMAIN = "assay"
"""Of the operators that are put in: ``Conv``, ``MatMul``, and what packs their constants."""
CODES = (onnx.TensorProto.INT8, onnx.TensorProto.UINT8)
MATRIX = 2
SPATIAL = (3, 4)
"""Ranks of the convolutions that run on integers: of one and two spatial axes."""


@dataclass
class _Graph:
    """A graph with what is looked up in it."""

    proto: onnx.GraphProto
    constants: dict[str, onnx.TensorProto] = field(default_factory=dict)
    makers: dict[str, onnx.NodeProto] = field(default_factory=dict)
    readers: dict[str, list[onnx.NodeProto]] = field(default_factory=lambda: defaultdict(list))

    def __post_init__(self) -> None:
        """Look the graph up."""
        self.constants = {tensor.name: tensor for tensor in self.proto.initializer}
        for node in self.proto.node:
            self.makers |= dict.fromkeys(node.output, node)
            for name in node.input:
                self.readers[name].append(node)

    def follower(self, name: str) -> onnx.NodeProto | None:
        """The one node that reads a tensor; None where it is an output of the graph, or more read it."""
        if any(output.name == name for output in self.proto.output) or len(self.readers[name]) != 1:
            return None
        return self.readers[name][0]

    def scalar(self, name: str) -> bool:
        """Whether a tensor is a constant of one element."""
        return name in self.constants and int(np.prod(self.constants[name].dims)) == 1


@dataclass
class _Product:
    """A product that can run on integers.

    Attributes:
        node: as the model has it.
        source: dequantizer of its input.
        weight: dequantizer of its weight.
        form: how the weight lies, see ``pack_weight``.
        bias: name of the tensor, or empty.
        relu: whether a Relu is taken in.
        quantizer: the one that is taken in, or None.
        output: name of what the last of them gives.
    """

    node: onnx.NodeProto
    source: onnx.NodeProto
    weight: onnx.NodeProto
    form: str
    bias: str
    output: str
    relu: bool = False
    quantizer: onnx.NodeProto | None = None
    taken: list[onnx.NodeProto] = field(default_factory=list)


def fuse_integers(graph: onnx.GraphProto, narrow: int = 0) -> Mapping[str, onnx.NodeProto]:
    """Replace products by integer ones, in place.

    Args:
        graph: its weights included.
        narrow: bits of the float that their results pass through, see ``convolve_packed``.

    Returns:
        Output of an integer product -> the product that it stands for.
    """
    looked = _Graph(graph)
    found = [product for node in graph.node if (product := _match(looked, node)) is not None]
    taken = {id(node) for product in found for node in (product.node, *product.taken)}
    nodes: list[onnx.NodeProto] = []
    placed = {id(product.node): product for product in found}
    for node in graph.node:
        if id(node) in placed:
            nodes += _write(placed[id(node)], looked, narrow)
        elif id(node) not in taken:
            nodes.append(node)
    kept = [onnx.NodeProto.FromString(node.SerializeToString()) for node in nodes]
    origins = {product.output: onnx.NodeProto.FromString(product.node.SerializeToString()) for product in found}
    del graph.node[:]
    graph.node.extend(kept)
    return origins


def _match(graph: _Graph, node: onnx.NodeProto) -> _Product | None:
    """A product on codes, with what it can take in."""
    if node.op_type not in {"Conv", "MatMul", "Gemm"} or node.domain not in {"", "ai.onnx"}:
        return None
    source, weight, form = graph.makers.get(node.input[0]), graph.makers.get(node.input[1]), node.op_type
    if weight is not None and weight.op_type == "Transpose" and node.op_type == "MatMul":
        weight, form = graph.makers.get(weight.input[0]), "Turned"
    elif node.op_type == "Gemm":
        form = "Turned" if _attribute(node, "transB", 0) else "MatMul"
    if source is None or weight is None or not _reads_codes(graph, source):
        return None
    if not _fits(graph, node, weight, form):
        return None
    bias = node.input[2] if len(node.input) > MATRIX else ""
    product = _Product(node, source, weight, form, bias, node.output[0])
    _take_followers(graph, product)
    return product


def _reads_codes(graph: _Graph, node: onnx.NodeProto) -> bool:
    """Whether a node dequantizes 8-bit codes with one scale."""
    if node.op_type != "DequantizeLinear" or len(node.input) <= MATRIX or not node.input[2]:
        return False
    zero = graph.constants.get(node.input[2])
    return graph.scalar(node.input[1]) and graph.scalar(node.input[2]) and zero is not None and zero.data_type in CODES


def _fits(graph: _Graph, node: onnx.NodeProto, weight: onnx.NodeProto, form: str) -> bool:
    """Whether a weight has s8 codes around 0 with a scale for each output channel or for all, in a plain product."""
    if weight.op_type != "DequantizeLinear" or any(name and name not in graph.constants for name in weight.input):
        return False
    codes, scale = graph.constants[weight.input[0]], graph.constants[weight.input[1]]
    zero = graph.constants.get(weight.input[2]) if len(weight.input) > MATRIX else None
    if codes.data_type != onnx.TensorProto.INT8 or _attribute(weight, "block_size", 0):
        return False
    if zero is not None and numpy_helper.to_array(zero).any():
        return False
    if form == "Conv":
        plain = len(codes.dims) in SPATIAL and _attribute(node, "group", 1) == 1
    else:
        plain = len(codes.dims) == MATRIX and not _attribute(node, "transA", 0)
        plain &= _float(node, "alpha") == 1 and (len(node.input) == MATRIX or _float(node, "beta") == 1)
        plain &= len(node.input) == MATRIX or not node.input[2] or _is_row(graph, node.input[2])
    channel = 0 if form in {"Conv", "Turned"} else 1
    axis = _attribute(weight, "axis", 1) % max(len(codes.dims), 1)
    return plain and (int(np.prod(scale.dims)) == 1 or (axis == channel and len(scale.dims) == 1))


def _is_row(graph: _Graph, name: str) -> bool:
    """Whether a bias is a constant row, itself or dequantized."""
    maker = graph.makers.get(name)
    held = graph.constants.get(maker.input[0] if maker is not None and maker.op_type == "DequantizeLinear" else name)
    return held is not None and len(held.dims) == 1


def _take_followers(graph: _Graph, product: _Product) -> None:
    """Take in a bias, a Relu and a quantizer."""
    follower = graph.follower(product.output)
    if follower is not None and follower.op_type == "Add" and not product.bias and product.form != "Conv":
        other = next((name for name in follower.input if name != product.output), "")
        if other in graph.constants and len(graph.constants[other].dims) == 1 and _is_width(graph, product, other):
            product.bias, product.output = other, follower.output[0]
            product.taken.append(follower)
            follower = graph.follower(product.output)
    if follower is not None and follower.op_type == "Relu":
        product.relu, product.output = True, follower.output[0]
        product.taken.append(follower)
        follower = graph.follower(product.output)
    if follower is not None and follower.op_type == "QuantizeLinear" and _writes_codes(graph, follower, product.output):
        product.quantizer, product.output = follower, follower.output[0]
        product.taken.append(follower)


def _writes_codes(graph: _Graph, node: onnx.NodeProto, value: str) -> bool:
    """Whether a node quantizes a value to 8 bits with one scale."""
    zero = graph.constants.get(node.input[2]) if len(node.input) > MATRIX else None
    found = node.input[0] == value and zero is not None and zero.data_type in CODES
    return found and graph.scalar(node.input[1]) and graph.scalar(node.input[2])


def _is_width(graph: _Graph, product: _Product, name: str) -> bool:
    """Whether a row has an element for each output channel."""
    codes = graph.constants[product.weight.input[0]]
    return bool(graph.constants[name].dims[0] == codes.dims[0 if product.form == "Turned" else 1])


def _write(product: _Product, graph: _Graph, narrow: int) -> list[onnx.NodeProto]:
    """Nodes in the place of a product: what packs its constants, and the product on codes."""
    out, source, weight = product.output, product.source, product.weight
    packed, scale, offset = (f"{out}/{part}" for part in ("packed", "scale", "offset"))
    nodes = [
        _make("Pack", [weight.input[0]], packed, form=product.form),
        _make("Scale", [source.input[1], weight.input[1], packed], scale),
        _make("Offset", [packed, source.input[2]], offset),
    ]
    behind = list(product.quantizer.input[1:3]) if product.quantizer is not None else []
    if product.bias in graph.makers:  # dequantized: it must stand before
        maker = graph.makers[product.bias]
        nodes.append(_make_like(maker, f"{out}/bias"))
        product.bias = f"{out}/bias"
    inputs = [packed, scale, offset, product.bias, *behind]
    inputs = inputs[:-1] if not behind and not product.bias else inputs
    name = product.node.name or f"{product.node.op_type}_{out}"
    if product.form == "Conv":
        kernel = list(graph.constants[weight.input[0]].dims[2:])
        window = {a.name: helper.get_attribute_value(a) for a in product.node.attribute}
        kept = {key: value for key, value in window.items() if key not in {"group", "kernel_shape"}}
        codes = [source.input[0], source.input[2]]
        product_node = _make("Conv", [*codes, *inputs], out, kernel=kernel, relu=product.relu, narrow=narrow, **kept)
    else:
        product_node = _make("MatMul", [source.input[0], *inputs], out, relu=product.relu, narrow=narrow)
    product_node.name = name
    return [*nodes, product_node]


def _make(operator: str, inputs: list[str], output: str, **attributes: object) -> onnx.NodeProto:
    node = helper.make_node(operator, inputs, [output], f"{operator}_{output}", domain=DOMAIN)
    plain = {key: int(value) if isinstance(value, bool) else value for key, value in attributes.items()}
    node.attribute.extend(helper.make_attribute(key, value) for key, value in plain.items())
    return node


def _make_like(node: onnx.NodeProto, output: str) -> onnx.NodeProto:
    copy = onnx.NodeProto()
    copy.CopyFrom(node)
    copy.name, copy.output[0] = output, output
    return copy


def _attribute(node: onnx.NodeProto, name: str, default: int) -> int:
    return next((int(a.i) for a in node.attribute if a.name == name), default)


def _float(node: onnx.NodeProto, name: str) -> float:
    return next((float(a.f) for a in node.attribute if a.name == name), 1.0)
