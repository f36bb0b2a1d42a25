"""Counts the multiply-accumulates of a model's nodes, from shapes alone."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import onnx_ir as ir
from onnx_ir.passes import common as passes
from onnxscript import optimizer

from assay.core.errors import RequestError
from assay.core.macs import count_conv_macs, count_conv_transpose_macs, count_matmul_macs
from assay.graph.prepare import is_worth_folding

Shape = tuple[int, ...]
CONVOLUTIONS = {"Conv": 1, "ConvInteger": 1, "QLinearConv": 3}
"""Operator -> index of its weight."""
MATRIX_PRODUCTS = {"MatMul": 1, "MatMulInteger": 1, "QLinearMatMul": 3}
"""Operator -> index of its right operand."""
RECURRENT = frozenset({"LSTM", "GRU", "RNN"})


def count_macs(model: ir.Model, batch: int = 1, dims: Mapping[str, int] | None = None) -> Mapping[str, int]:
    """Multiply-accumulates per named node of the main graph.

    Args:
        model: with unique node names, as ``prepare`` gives them.
        batch: size of a dynamic first axis of an input.
        dims: sizes of other dynamic axes by their name; an axis without a name is ``input.axis`` (``ids.1``).

    Returns:
        Node name -> multiply-accumulates, for Conv, ConvTranspose, MatMul, Gemm, Einsum of two operands, LSTM, GRU,
        RNN and the integer forms of them. Left out are nodes whose shapes depend on the data, and nodes inside If,
        Loop and Scan, whose number of runs does.

    Raises:
        RequestError: a dynamic axis of an input has no size.
    """
    sizes = dict(dims or {})
    shapes = {}
    for value in model.graph.inputs:
        if value.shape is not None and value.name not in model.graph.initializers:
            shapes[str(value.name)] = [bind_axis(value, index, batch, sizes) for index in range(len(value.shape))]
    return count_macs_at(model, shapes)


def bind_axis(value: ir.Value, index: int, batch: int, sizes: Mapping[str, int]) -> int:
    """Size of one axis of a graph input."""
    axis = value.shape[index] if value.shape is not None else None
    if isinstance(axis, int):
        return axis
    unnamed = f"{value.name}.{index}"
    name = unnamed if axis is None or axis.value is None else axis.value
    for key in (unnamed, name):
        if key in sizes:
            return sizes[key]
    if index == 0:
        return batch
    raise RequestError(f"axis {index} ('{name}') of input '{value.name}' has no size", f"give a size for '{name}'")


def count_macs_at(model: ir.Model, shapes: Mapping[str, Sequence[int]]) -> Mapping[str, int]:
    """Multiply-accumulates per named node of the main graph when inputs have these shapes.

    Args:
        model: left as it is.
        shapes: graph input -> its whole shape; an input that is missing keeps the shape it has.
    """
    bound = bind_shapes(model, shapes)
    counts = {}
    for node in bound.graph:
        macs = None if node.domain else count_node(node)
        if macs is not None and node.name:
            counts[node.name] = macs
    return counts


def bind_shapes(model: ir.Model, shapes: Mapping[str, Sequence[int]]) -> ir.Model:
    """A copy with fixed input shapes and everything that follows from them inferred."""
    bound = model.clone()
    for value in bound.graph.inputs:
        if value.name and value.name in shapes:
            value.shape = ir.Shape(shapes[value.name])
    for node in bound.graph.all_nodes():
        for value in node.outputs:
            if value.shape is not None and node.domain == "":
                value.shape = None
    passes.ShapeInferencePass(check_type=False, strict_mode=False, data_prop=True)(bound)
    # Shapes that are computed in the graph (Reshape in attention) become constants once the inputs are fixed.
    optimizer.fold_constants(bound, onnx_shape_inference=True, should_fold=is_worth_folding)
    return bound


def read_shape(value: ir.Value | None) -> Shape | None:
    """The shape of a value where every axis is known."""
    if value is None or value.shape is None:
        return None
    axes = tuple(axis for axis in value.shape if isinstance(axis, int))
    return axes if len(axes) == len(value.shape) else None


def count_node(node: ir.Node) -> int | None:
    """Multiply-accumulates of one node; None where it has none or its shapes are unknown."""
    operator = node.op_type
    if operator in CONVOLUTIONS:
        output, weight = read_shape(node.outputs[0]), read_shape(node.inputs[CONVOLUTIONS[operator]])
        return count_conv_macs(output, weight) if output is not None and weight is not None else None
    if operator == "ConvTranspose":
        data, weight = read_shape(node.inputs[0]), read_shape(node.inputs[1])
        return count_conv_transpose_macs(data, weight) if data is not None and weight is not None else None
    if operator in MATRIX_PRODUCTS:
        return count_product(node, MATRIX_PRODUCTS[operator])
    if operator == "Gemm":
        return count_gemm(node)
    if operator in RECURRENT:
        return count_recurrent(node)
    return count_einsum(node) if operator == "Einsum" else None


def count_product(node: ir.Node, right_index: int) -> int | None:
    """A matrix product by the rules of numpy.matmul."""
    left, right = read_shape(node.inputs[0]), read_shape(node.inputs[right_index])
    output = read_shape(node.outputs[0])
    if not left or right is None:
        return None
    return None if output is None else count_matmul_macs(output, left[-1])


def count_gemm(node: ir.Node) -> int | None:
    """A Gemm: its left operand is ``[M, K]``, or ``[K, M]`` with transA."""
    left, output = read_shape(node.inputs[0]), read_shape(node.outputs[0])
    if left is None or output is None:
        return None
    return count_matmul_macs(output, left[0 if node.attributes.get_int("transA", 0) else 1])


def count_recurrent(node: ir.Node) -> int | None:
    """A recurrent layer: per step and item, one product with W ``[D, G*H, I]`` and one with R ``[D, G*H, H]``."""
    data, weight, recurrence = (read_shape(value) for value in node.inputs[:3])
    if data is None or weight is None or recurrence is None:
        return None
    return data[0] * data[1] * (math.prod(weight) + math.prod(recurrence))


def count_einsum(node: ir.Node) -> int | None:
    """An Einsum of two operands: one product per combination of indices; None with an ellipsis."""
    equation = node.attributes.get_string("equation", "").replace(" ", "").partition("->")[0]
    terms = equation.split(",")
    shapes = [read_shape(value) for value in node.inputs]
    if len(terms) != len(shapes) or len(terms) != 2 or "." in equation:  # noqa: PLR2004 a product has two operands
        return None
    sizes: dict[str, int] = {}
    for term, shape in zip(terms, shapes, strict=True):
        if shape is None or len(shape) != len(term):
            return None
        sizes.update(zip(term, shape, strict=True))
    return math.prod(sizes.values())
