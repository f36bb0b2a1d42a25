"""Where a layer's bias stands, or could stand."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from assay.graph.quantize_roles import Part, read_constant

BIAS = 2
"""Input of Conv, ConvTranspose and Gemm that is their bias."""


@dataclass(frozen=True, slots=True)
class BiasSite:
    """A constant that is added to every output channel of a layer.

    Attributes:
        node: that adds it: the layer itself, or an Add behind a MatMul.
        index: of its input.
        values: ``[C] float32``, Gemm's ``beta`` multiplied in; zeros where there is none yet.
        present: whether the node has it already.
        shape: in which it is stored.
    """

    node: ir.Node
    index: int
    values: NDArray[np.float32]
    present: bool
    shape: tuple[int, ...]


def find_bias(node: ir.Node, part: Part, weight: NDArray[np.float32]) -> BiasSite | None:
    """The bias of a layer; None where it has one that is no constant per channel, or a MatMul without an Add.

    Args:
        node: Conv, ConvTranspose, MatMul or Gemm.
        part: its part, with a constant weight.
        weight: that weight.
    """
    if part.axis is None:
        return None
    if node.op_type == "MatMul":
        return _find_added(node, weight.shape[part.axis])
    if part.bias is None:
        channels = weight.shape[part.axis]
        if node.op_type == "ConvTranspose":
            channels *= node.attributes.get_int("group", 1) or 1
        return BiasSite(node, BIAS, np.zeros(channels, np.float32), present=False, shape=(channels,))
    values = read_constant(node.inputs[part.bias])
    if values is not None and node.op_type == "Gemm":
        return _read_shared(node, part.bias, values, weight.shape[part.axis])
    return None if values is None else BiasSite(node, part.bias, values, present=True, shape=values.shape)


def _read_shared(node: ir.Node, index: int, values: NDArray[np.float32], channels: int) -> BiasSite | None:
    """The bias of a Gemm, which may be one number for all channels, or one for every element."""
    if values.size not in {1, channels} or (values.size == channels != values.shape[-1]):
        return None
    beta = node.attributes.get_float("beta", 1.0)
    scaled = values.reshape(-1) * np.float32(1.0 if beta is None else beta)
    return BiasSite(node, index, np.broadcast_to(scaled, channels), present=True, shape=(channels,))


def _find_added(node: ir.Node, channels: int) -> BiasSite | None:
    """The constant per channel of an Add that alone reads a product."""
    product = node.outputs[0]
    uses = [*product.uses()]
    if len(uses) != 1 or product.is_graph_output():
        return None
    reader, index = uses[0].node, uses[0].idx
    if reader.op_type != "Add" or reader.domain not in {"", "ai.onnx"} or reader.graph is not node.graph:
        return None
    values = read_constant(reader.inputs[1 - index])
    if values is None or values.size != channels or not values.ndim or values.shape[-1] != channels:
        return None
    return BiasSite(reader, 1 - index, values.reshape(-1), present=True, shape=values.shape)
