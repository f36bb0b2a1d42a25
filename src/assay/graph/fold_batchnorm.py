"""Folds per-channel scales and shifts into the Conv, ConvTranspose or Gemm before them.

They stand in a graph as BatchNormalization, or as Mul, Add or Sub with a constant, which is how other exporters
write the same thing. The arithmetic is in float64, so that folding costs no more than one rounding of each weight.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

LINEAR_OPERATORS = frozenset({"Conv", "ConvTranspose", "Gemm"})
DEFAULT_EPSILON = 1e-5
"""Of BatchNormalization, by the ONNX specification."""
FLOATS = frozenset({ir.DataType.FLOAT, ir.DataType.DOUBLE, ir.DataType.FLOAT16, ir.DataType.BFLOAT16})


@dataclass(frozen=True, slots=True)
class Affine:
    """``y = x * scale + shift`` per channel, both ``[C] float64`` or ``[1] float64``."""

    scale: NDArray[np.float64]
    shift: NDArray[np.float64]


def fold_batchnorm(model: ir.Model) -> ir.Model:
    """Fold every affine node that directly follows the only use of a linear node's output.

    A linear node whose weights are not constant, or whose output is used elsewhere, stays as it is; so does a
    BatchNormalization in training mode. The folded node keeps its name; its output takes the affine node's name.

    Args:
        model: left as it is; unchanged weights are shared.

    Source: Jacob et al., "Quantization and Training of Neural Networks for Efficient Integer-Arithmetic-Only
    Inference", CVPR 2018, section 3.2.
    """
    folded = model.clone()
    for node in list(folded.graph.all_nodes()):
        linear = find_linear(node)
        if linear is not None:
            fold_into(linear, node)
    return folded


def find_linear(node: ir.Node) -> ir.Node | None:
    """The linear node that an affine candidate reads and that nobody else reads."""
    if node.domain or node.op_type not in {"BatchNormalization", "Mul", "Add", "Sub"}:
        return None
    for value in node.inputs[: 1 if node.op_type in {"BatchNormalization", "Sub"} else 2]:
        producer = None if value is None else value.producer()
        if value is None or producer is None or producer.op_type not in LINEAR_OPERATORS or producer.domain:
            continue
        alone = len(value.uses()) == 1 and not value.is_graph_output() and producer.graph is node.graph
        if alone and all(read_constant(weight) is not None for weight in producer.inputs[1:] if weight is not None):
            return producer
    return None


def read_constant(value: ir.Value | None) -> NDArray[np.float64] | None:
    """A constant float tensor as float64."""
    if value is None or value.const_value is None or value.is_graph_input() or value.const_value.dtype not in FLOATS:
        return None
    return value.const_value.numpy().astype(np.float64)


def fold_into(linear: ir.Node, node: ir.Node) -> None:
    """Fold one affine node into its linear node, in place, where the arithmetic allows it."""
    weight = linear.inputs[1]
    array = read_constant(weight)
    if weight is None or array is None or weight.const_value is None:
        return
    channels = count_channels(linear, array)
    affine = read_batchnorm(node) if node.op_type == "BatchNormalization" else read_binary(linear, node, array.ndim)
    bias = read_bias(linear, channels)
    if (
        affine is None
        or bias is None
        or affine.scale.size not in {1, channels}
        or affine.shift.size not in {1, channels}
    ):
        return
    scale, shift = np.broadcast_to(affine.scale, channels), np.broadcast_to(affine.shift, channels)
    dtype = weight.const_value.dtype.numpy()
    new_weight = scale_weight(linear, array, scale).astype(dtype)
    new_bias = (bias * scale + shift).astype(dtype)
    if not (np.isfinite(new_weight.astype(np.float64)).all() and np.isfinite(new_bias.astype(np.float64)).all()):
        return
    linear.attributes.pop("beta", None)
    set_constant(linear, 1, new_weight, f"{weight.name}")
    if linear.op_type == "Gemm" or np.any(new_bias) or len(linear.inputs) > 2:  # noqa: PLR2004 the bias is input 2
        set_constant(linear, 2, new_bias, f"{weight.name}_bias")
    take_over(linear.outputs[0], node)


def count_channels(linear: ir.Node, weight: NDArray[np.float64]) -> int:
    """Output channels of a linear node."""
    if linear.op_type == "Conv":
        return int(weight.shape[0])
    if linear.op_type == "Gemm":
        return int(weight.shape[0 if is_transposed(linear) else 1])
    group = linear.attributes.get_int("group", 1)
    return group * int(weight.shape[1])


def is_transposed(gemm: ir.Node) -> bool:
    """Whether a Gemm's weight is ``[N, K]``."""
    return gemm.attributes.get_int("transB", 0) != 0


def scale_weight(linear: ir.Node, weight: NDArray[np.float64], scale: NDArray[np.float64]) -> NDArray[np.float64]:
    """Multiply each output channel of a weight by its scale."""
    if linear.op_type == "Conv" or (linear.op_type == "Gemm" and is_transposed(linear)):
        return weight * scale.reshape(-1, *[1] * (weight.ndim - 1))
    if linear.op_type == "Gemm":
        return weight * scale
    # ConvTranspose weights are [C, M/group, ...]: the rows of one group scale by that group's share of the channels.
    group = linear.attributes.get_int("group", 1)
    grouped = weight.reshape(group, weight.shape[0] // group, *weight.shape[1:])
    scaled = grouped * scale.reshape(group, 1, weight.shape[1], *[1] * (weight.ndim - 2))
    return scaled.reshape(weight.shape)


def read_bias(linear: ir.Node, channels: int) -> NDArray[np.float64] | None:
    """The bias as ``[channels]``, zeros where there is none; None where it differs along the batch."""
    value = linear.inputs[2] if len(linear.inputs) > 2 else None  # noqa: PLR2004 the bias is input 2
    if value is None:
        return np.zeros(channels)
    array = read_constant(value)
    if array is None or array.size not in {1, channels} or (array.ndim > 1 and array.shape[-1] != array.size):
        return None
    return np.broadcast_to(array.reshape(-1), channels) * linear.attributes.get_float("beta", 1.0)


def read_batchnorm(node: ir.Node) -> Affine | None:
    """The inference form of BatchNormalization; None in training mode or with parameters that vary."""
    if node.attributes.get_int("training_mode", 0) or any(value.uses() for value in node.outputs[1:]):
        return None
    gamma, beta, mean, variance = (read_constant(value) for value in node.inputs[1:5])
    if gamma is None or beta is None or mean is None or variance is None:
        return None
    epsilon = node.attributes.get_float("epsilon", DEFAULT_EPSILON)
    if np.any(variance + epsilon <= 0):
        return None
    scale = gamma / np.sqrt(variance + epsilon)
    return Affine(scale, beta - mean * scale)


def read_binary(linear: ir.Node, node: ir.Node, rank: int) -> Affine | None:
    """Mul, Add or Sub with a constant that is the same along every axis but the channel's (axis 1)."""
    other = node.inputs[1] if node.inputs[0] is linear.outputs[0] else node.inputs[0]
    array = read_constant(other)
    if array is None or array.ndim > rank:
        return None
    shape = (1,) * (rank - array.ndim) + array.shape
    if any(size != 1 for axis, size in enumerate(shape) if axis != 1):
        return None
    flat, one = array.reshape(-1), np.ones(1)
    if node.op_type == "Mul":
        return Affine(flat, np.zeros(1))
    return Affine(one, flat if node.op_type == "Add" else -flat)


def set_constant(node: ir.Node, index: int, array: NDArray[np.generic], fallback: str) -> None:
    """Give a node a new constant input; a constant that nobody else reads keeps its name."""
    old = node.inputs[index] if index < len(node.inputs) else None
    graph = node.graph
    if not isinstance(graph, ir.Graph):
        return
    alone = old is not None and len(old.uses()) == 1 and not old.is_graph_output()
    name = str(old.name) if old is not None and alone else choose_name(graph, fallback)
    value = ir.Value(
        name=name,
        type=ir.TensorType(ir.DataType.from_numpy(array.dtype)),
        shape=ir.Shape(array.shape),
        const_value=ir.tensor(array, name=name),
    )
    if old is not None and alone and old.is_initializer() and old.graph is not None:
        old.graph.initializers.pop(name)
    graph.initializers.add(value)
    if index >= len(node.inputs):
        node.resize_inputs(index + 1)
    node.replace_input_with(index, value)


def choose_name(graph: ir.Graph, wanted: str) -> str:
    """The wanted name, or a numbered one where it is taken anywhere in the graph."""
    taken = set(graph.initializers) | {value.name for value in graph.inputs}
    taken |= {value.name for node in graph for value in node.outputs}
    name, number = wanted, 1
    while name in taken:
        number += 1
        name = f"{wanted}_{number}"
    return name


def take_over(value: ir.Value, node: ir.Node) -> None:
    """Let a value stand for the output of the node that follows it, under that output's name; remove the node."""
    output = node.outputs[0]
    name = output.name
    ir.convenience.replace_all_uses_with(output, value, replace_graph_outputs=True)
    value.shape = output.shape if output.shape is not None else value.shape
    output.name = None
    value.name = name
    if node.graph is not None:
        node.graph.remove(node, safe=True)
