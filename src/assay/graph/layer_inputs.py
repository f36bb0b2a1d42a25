"""Layers as matrix products: the matrix of a weight, the vectors it multiplies, and what is known of those."""

from __future__ import annotations

import math
from typing import TypeVar

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from assay.core.calibration import Calibration, ChannelStatistics
from assay.core.moments import AutoPad, LayerInput, Window
from assay.core.plan import Plan
from assay.core.precision import Precision, Repair
from assay.graph.quantize_roles import read_constant
from assay.graph.quantize_selection import select

Number = TypeVar("Number", bound=np.generic)

MOMENT_BYTES = 200 << 20
"""Limit on the moments of all layers together."""
LARGEST_SIZE = 4096
"""Longest input vector whose moments are kept: the solver's time grows with its cube."""
SPATIAL = 2
"""First spatial axis of an activation and of a convolution's weight."""


def list_moment_layers(prepared: ir.Model, plan: Plan) -> tuple[LayerInput, ...]:
    """Layers whose input vectors must be observed so that their weights can be rounded adaptively.

    Conv, MatMul and Gemm with constant weights that the plan quantizes. Where the moments of all of them would take
    more than 200 MiB, those with the longest vectors are left out: their weights are rounded to nearest.

    Args:
        prepared: a prepared model.
        plan: none are needed unless its scheme rounds adaptively.
    """
    if plan.precision is not Precision.INT8 or plan.scheme is None or Repair.ROUND not in plan.scheme.repairs:
        return ()
    keep = frozenset(name for name, precision in plan.overrides if precision is not plan.precision)
    parts = select(prepared, plan.scheme, keep).parts
    layers = [describe_layer(node) for node, part in parts.items() if part.weight is not None]
    chosen, spent = list[LayerInput](), 0
    seen = set[tuple[str, int, Window | None]]()
    for layer in sorted((one for one in layers if one is not None), key=lambda one: (one.nbytes, one.node)):
        key = (layer.tensor, layer.groups, layer.window)
        spent += 0 if key in seen else layer.nbytes
        seen.add(key)
        if spent > MOMENT_BYTES:
            break
        chosen.append(layer)
    return tuple(chosen)


def describe_layer(node: ir.Node) -> LayerInput | None:
    """How a node with a constant weight reads its input; None for what is no plain product of input vectors."""
    source, weight = node.inputs[0], read_constant(node.inputs[1])
    if source is None or weight is None or node.op_type == "ConvTranspose":
        return None
    if node.op_type == "Gemm" and node.attributes.get_int("transA", 0) != 0:
        return None
    matrix = to_matrix(node, weight)
    if matrix.shape[-1] > LARGEST_SIZE or not matrix.size:
        return None
    name, tensor, size = str(node.name), str(source.name), matrix.shape[-1]
    if node.op_type != "Conv":
        return LayerInput(name, tensor, size)
    return LayerInput(name, tensor, size, matrix.shape[0], read_window(node, weight.shape[SPATIAL:]))


def read_window(node: ir.Node, kernel: tuple[int, ...]) -> Window:
    """The window of a Conv with a weight of these taps."""
    ones, zeros = (1,) * len(kernel), (0,) * 2 * len(kernel)
    return Window(
        kernel=tuple(kernel),
        strides=tuple(node.attributes.get_ints("strides") or ones),
        dilations=tuple(node.attributes.get_ints("dilations") or ones),
        pads=tuple(node.attributes.get_ints("pads") or zeros),
        auto_pad=AutoPad(node.attributes.get_string("auto_pad") or AutoPad.EXPLICIT),
    )


def to_matrix(node: ir.Node, weight: NDArray[Number]) -> NDArray[Number]:
    """The weight of a Conv, MatMul or Gemm as ``[G, R, K]``: outputs of a group by values that each sums over.

    Args:
        node: whose weight it is.
        weight: of the weight's shape, or broadcast to it.
    """
    if node.op_type == "Conv":
        groups = node.attributes.get_int("group", 1) or 1
        return weight.reshape(groups, weight.shape[0] // groups, -1)
    return (weight if _is_turned(node) else weight.T)[None]


def from_matrix(node: ir.Node, matrix: NDArray[Number], shape: tuple[int, ...]) -> NDArray[Number]:
    """A ``[G, R, K]`` matrix in the shape of the node's weight."""
    weight: NDArray[Number] = matrix.reshape(shape) if node.op_type == "Conv" else matrix[0]
    return weight if node.op_type == "Conv" or _is_turned(node) else weight.T


def _is_turned(node: ir.Node) -> bool:
    """Whether the weight of a product has its outputs first."""
    return node.op_type == "Gemm" and node.attributes.get_int("transB", 0) != 0


def find_channels(layer: LayerInput, source: ir.Value, calibration: Calibration) -> ChannelStatistics | None:
    """Statistics of the channels that a layer sums over, or None where they were not observed.

    Args:
        layer: a product or convolution.
        source: the tensor that it reads.
        calibration: statistics per tensor.
    """
    tensor = calibration.tensors.get(layer.tensor)
    channels = None if tensor is None else tensor.channels
    if channels is None or tensor is None or tensor.nonfinite:
        return None
    rank = None if source.shape is None else len(source.shape)
    wanted = {1} if layer.window is not None else {-1} | ({rank - 1} if rank else set())
    if rank and layer.window is not None:
        wanted.add(1 - rank)
    taps = 1 if layer.window is None else math.prod(layer.window.kernel)
    fits = channels.axis in wanted and len(channels.total) * taps == layer.size * layer.groups
    return channels if fits else None


def spread_channels(layer: LayerInput, source: ir.Value, values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Per-channel expectations as those of the layer's input vectors, ``[G, K]``.

    Taps that read padding see zeros: each is weighted with the share of output positions at which it reads the image,
    as if a channel were alike at all its positions. Where the image's size is not known, no tap is taken to.

    Args:
        layer: a product or convolution.
        source: the tensor that it reads.
        values: ``[C]``, of each channel.
    """
    window = layer.window
    if window is None:
        return values[None]
    shares = np.ones(1)
    for axis in range(len(window.kernel)):
        length = None if source.shape is None else source.shape[SPATIAL + axis]
        inside = np.ones(window.kernel[axis])
        if isinstance(length, int):
            reads = window.locate(axis, length)
            inside = ((reads >= 0) & (reads < length)).mean(axis=0) if len(reads) else inside
        shares = (shares[:, None] * inside).reshape(-1)
    return (values[:, None] * shares).reshape(layer.groups, layer.size)
