"""Which tensors' channels matter to integers: what the layers with constant weights read."""

from __future__ import annotations

import onnx_ir as ir

from assay.graph.expose import observable_tensors
from assay.graph.quantize_roles import read_constant

CONVOLUTIONS = frozenset({"Conv", "ConvTranspose"})
PRODUCTS = frozenset({"MatMul", "Gemm"})
MATRIX_RANK = 2
STANDARD = frozenset({"", "ai.onnx"})


def is_linear(node: ir.Node) -> bool:
    """Whether a node is a Conv, ConvTranspose, MatMul or Gemm of an activation with a constant weight."""
    if node.domain not in STANDARD or node.op_type not in CONVOLUTIONS | PRODUCTS:
        return False
    weight = read_constant(node.inputs[1])
    if weight is None or read_constant(node.inputs[0]) is not None:
        return False
    return node.op_type in CONVOLUTIONS or weight.ndim == MATRIX_RANK


def find_input_axis(node: ir.Node) -> int:
    """Axis of the channels of a linear node's activation, over which it sums: 1, or one counted from the end."""
    if node.op_type in CONVOLUTIONS:
        return 1
    turned = node.op_type == "Gemm" and node.attributes.get_int("transA", 0) != 0
    return -2 if turned else -1


def list_channel_axes(model: ir.Model) -> dict[str, int]:
    """Tensors whose statistics per channel the repairs need: the activations that linear nodes read.

    Args:
        model: a prepared one.

    Returns:
        Tensor name -> axis of its channels: 1 for convolutions, -1 for products (-2 for a Gemm that transposes its
        activation). A tensor that both read has the axis of the first reader.
    """
    observable = set(observable_tensors(model))
    axes: dict[str, int] = {}
    for node in model.graph:
        source = node.inputs[0] if node.inputs else None
        if source is not None and source.name in observable and is_linear(node):
            axes.setdefault(str(source.name), find_input_axis(node))
    return axes
