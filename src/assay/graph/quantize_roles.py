"""What a node is to quantization: arithmetic on integers, a link of an integer chain, a data mover, or a float node."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from assay.core.plan import IntegerDialect

TWO_OPERANDS = 2


class Role(StrEnum):
    """Part that a node can play in an integer graph."""

    ARITHMETIC = "arithmetic"
    """Multiplies and accumulates: what quantization is for."""
    LINK = "link"
    """Computes on integers too, with a scale of its own behind it: Add, Concat, pools."""
    MOVER = "mover"
    """Moves values without changing them, so its output has its input's scale: Reshape, MaxPool."""


LINKS = frozenset(
    {"Add", "Mul", "Concat", "AveragePool", "GlobalAveragePool", "ReduceMean", "Sigmoid", "LeakyRelu", "HardSwish"}
)
"""Operators that may be links. Norms and Softmax never are: their results are wrong by more than a step of 8 bits."""
MOVERS = frozenset({"Reshape", "Flatten", "Squeeze", "Unsqueeze", "Transpose", "Identity", "Slice", "Split"})
"""Movers that every runtime has for integers; the following ones only where the dialect lists them."""
LISTED_MOVERS = frozenset({"MaxPool", "Resize", "DepthToSpace", "SpaceToDepth", "Pad", "Tile", "Expand", "Gather"})


@dataclass(frozen=True, slots=True)
class Part:
    """A node's role and the operands that it has on integers.

    Attributes:
        operands: input indices of activations.
        constants: input indices of scalar constants that are quantized like activations.
        weight: input index of the constant weight, or None.
        axis: of the weight's output channels.
        bias: input index of the bias, or None where the node has none.
    """

    role: Role
    operands: tuple[int, ...]
    constants: tuple[int, ...] = ()
    weight: int | None = None
    axis: int | None = None
    bias: int | None = None


def read_constant(value: ir.Value | None) -> NDArray[np.float32] | None:
    """Values of a float32 initializer that no caller can override, or None."""
    if value is None or value.const_value is None or not value.is_initializer() or value.is_graph_input():
        return None
    if value.const_value.dtype is not ir.DataType.FLOAT:
        return None
    return value.const_value.numpy().astype(np.float32, copy=False)


def assign_part(node: ir.Node, dialect: IntegerDialect, observable: Collection[str]) -> Part | None:
    """What the node can be on integers in a dialect, or None where it stays in floats.

    Args:
        node: of the main graph.
        dialect: what the runtime executes on integers.
        observable: names of the float32 activations.
    """
    if node.domain not in {"", "ai.onnx"} or is_quantized(node):
        return None
    part = _find_part(node, dialect)
    if part is None:
        return None
    names = {value.name for index in part.operands if (value := node.inputs[index]) is not None}
    return part if names and names <= set(observable) else None


def is_quantized(node: ir.Node) -> bool:
    """Whether the model came with a quantize/dequantize pair on one of the node's inputs."""
    producers = [value.producer() for value in node.inputs if value is not None]
    return any(producer is not None and producer.op_type == "DequantizeLinear" for producer in producers)


def _find_part(node: ir.Node, dialect: IntegerDialect) -> Part | None:
    """The part that the operator allows."""
    kind = node.op_type
    if kind == "Conv" or (kind == "ConvTranspose" and kind in dialect.chain_operators):
        return _find_convolution(node, dialect)
    if kind == "MatMul":
        return _find_product(node)
    if kind == "Gemm":
        return _find_gemm(node, dialect)
    if kind in LINKS and kind in dialect.chain_operators:
        return _find_link(node, dialect)
    if kind in MOVERS or (kind in LISTED_MOVERS and kind in dialect.chain_operators):
        return _find_mover(node)
    return None


def _find_convolution(node: ir.Node, dialect: IntegerDialect) -> Part | None:
    """Conv and ConvTranspose with a constant weight; the output channels of the latter are axis 1, per group."""
    if read_constant(node.inputs[1]) is None:
        return None
    bias = 2 if len(node.inputs) > TWO_OPERANDS and node.inputs[2] is not None else None
    if bias is not None and dialect.integer_bias and read_constant(node.inputs[bias]) is None:
        return None
    axis = 0 if node.op_type == "Conv" else 1
    return Part(Role.ARITHMETIC, (0,), weight=1, axis=axis, bias=bias)


def _find_product(node: ir.Node) -> Part | None:
    """MatMul with a constant matrix on the right, or with two activations."""
    weight = read_constant(node.inputs[1])
    if weight is not None:
        return Part(Role.ARITHMETIC, (0,), weight=1, axis=1) if weight.ndim == TWO_OPERANDS else None
    left, right = node.inputs
    if read_constant(left) is not None or right is None:
        return None
    return Part(Role.ARITHMETIC, (0, 1))


def _find_gemm(node: ir.Node, dialect: IntegerDialect) -> Part | None:
    """Gemm with a constant matrix on the right; its bias must fit one integer per channel where biases are integers."""
    weight = read_constant(node.inputs[1])
    if weight is None:
        return None
    axis = 0 if node.attributes.get_int("transB", 0) else 1
    bias = 2 if len(node.inputs) > TWO_OPERANDS and node.inputs[2] is not None else None
    scaled = node.attributes.get_float("beta", 1.0) != 1
    if bias is not None and (dialect.integer_bias or scaled):
        values = read_constant(node.inputs[bias])
        channels = weight.shape[axis]
        if values is None or values.size not in {1, channels} or (values.size == channels != values.shape[-1]):
            return None
    return Part(Role.ARITHMETIC, (0,), weight=1, axis=axis, bias=bias)


def _find_link(node: ir.Node, dialect: IntegerDialect) -> Part | None:
    """Links of activations; a constant operand must be a scalar, which eight bits hold without loss.

    Where operators are not forced onto integers one by one, a constant operand means a scale or shift that the
    runtime fuses into the arithmetic before it.
    """
    values = [None if value is None else read_constant(value) for value in node.inputs]
    if node.op_type == "ReduceMean":
        return Part(Role.LINK, (0,))
    operands = tuple(index for index, value in enumerate(values) if value is None)
    constants = tuple(index for index, value in enumerate(values) if value is not None)
    scalars = all(value is None or value.size == 1 for value in values)
    if not constants:
        return Part(Role.LINK, operands)
    single = dialect.integer_bias and scalars and node.op_type in {"Add", "Mul"} and bool(operands)
    return Part(Role.LINK, operands, constants=constants) if single else None


def _find_mover(node: ir.Node) -> Part | None:
    """Movers whose output holds nothing but values of their input and zeros."""
    if node.op_type == "Resize" and node.attributes.get_string("mode", "nearest") != "nearest":
        return None
    if node.op_type == "Pad" and len(node.inputs) > TWO_OPERANDS and node.inputs[2] is not None:
        fill = read_constant(node.inputs[2])
        if fill is None or fill.any():
            return None
    if node.op_type == "MaxPool" and len(node.outputs) > 1 and node.outputs[1].uses():
        return None
    return Part(Role.MOVER, (0,))
