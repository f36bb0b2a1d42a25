"""Multiplies the channels of a group of tensors by factors, and divides them out in the weights that read them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from assay.core.calibration import ChannelStatistics
from assay.graph.channel_groups import NORMS, ChannelGroup, Port, find_constant
from assay.graph.channels import is_linear
from assay.graph.fold_batchnorm import is_transposed, scale_weight, set_constant
from assay.graph.layouts import expand_factor, read_dims
from assay.graph.quantize_roles import read_constant

Factor = NDArray[np.float64]
Change = tuple[ir.Node, int, NDArray[np.float64]]
BIAS = 2
LARGEST_EXPONENT = 24
"""Factors lie within 2**-24 and 2**24, the digits of a float32."""


@dataclass(frozen=True, slots=True)
class Rescaled:
    """A model that computes what another one does, with inner tensors scaled.

    Attributes:
        model: the rewritten one; node and tensor names are those of the other.
        factors: tensor name -> ``[C] float64`` by which each channel along its axis is multiplied; without those
            that did not change. A tensor whose channels lie along several axes is left out.
    """

    model: ir.Model
    factors: Mapping[str, Factor]


def round_factor(factor: Factor) -> Factor:
    """Nearest powers of two within the limits: multiplying by them rounds nothing."""
    exponent = np.clip(np.rint(np.log2(factor)), -LARGEST_EXPONENT, LARGEST_EXPONENT)
    rounded: Factor = np.exp2(exponent)
    return rounded


def rescale_group(group: ChannelGroup, factor: Factor) -> bool:
    """Scale a group in place, unless a weight would overflow or lose digits to underflow.

    Args:
        group: of the model to change.
        factor: ``[C] float64``, positive.

    Returns:
        Whether it was scaled.
    """
    changes: dict[tuple[ir.Node, int], NDArray[np.float64]] = {}

    def change(node: ir.Node, index: int, scale: Callable[[NDArray[np.float64]], NDArray[np.float64]]) -> None:
        """Apply one more scale to a constant; a node can be a reader and a writer of one group."""
        constant = read_constant(node.inputs[index]) if index < len(node.inputs) else None
        if constant is not None:
            changes[node, index] = scale(changes.get((node, index), constant.astype(np.float64)))

    for port in group.writers:
        _multiply_writer(port, np.repeat(factor, port.layout.repeat), change)
    for port in group.readers:
        _divide_reader(port, np.repeat(factor, port.layout.repeat), change)
    for port in group.shifts:
        _multiply_shift(port, factor, change)
    old = {key: read_constant(key[0].inputs[key[1]]) for key in changes}
    with np.errstate(over="ignore", under="ignore"):
        new = {key: array.astype(np.float32) for key, array in changes.items()}
    if not all(_survives(old[key], array) for key, array in new.items()):
        return False
    for (node, index), array in new.items():
        value = node.inputs[index]
        set_constant(node, index, array, str(None if value is None else value.name))
    return True


def _survives(old: NDArray[np.float32] | None, new: NDArray[np.float32]) -> bool:
    """Whether no value became infinite, and none but the least became zero or denormal."""
    if old is None or not np.isfinite(new).all():
        return False
    tiny = np.finfo(np.float32).tiny
    lost = (np.abs(new) < tiny) & (np.abs(np.broadcast_to(old, new.shape)) >= tiny)
    return not bool(lost.any())


def _multiply_writer(port: Port, factor: Factor, change: Callable[..., None]) -> None:
    """Scale the output channels of a linear node, a normalization or a product with a constant."""
    node = port.node
    if is_linear(node):
        if node.op_type == "MatMul":
            change(node, 1, lambda weight: weight * factor)
        else:
            change(node, 1, lambda weight: scale_weight(node, weight, factor))
            change(node, BIAS, lambda bias: bias * factor)
    elif node.op_type in NORMS:
        scale, shift = NORMS[node.op_type]
        change(node, scale, lambda values: values * factor)
        if shift is not None:
            change(node, shift, lambda values: values * factor)
    else:
        _scale_operand(port, factor, change)


def _divide_reader(port: Port, factor: Factor, change: Callable[..., None]) -> None:
    """Divide the input channels of a linear node, or of a product with a constant."""
    node = port.node
    if is_linear(node):
        change(node, 1, lambda weight: weight / align_input(node, weight, factor))
    else:
        _scale_operand(port, 1 / factor, change)


def _scale_operand(port: Port, factor: Factor, change: Callable[..., None]) -> None:
    """Scale the constant of a Mul by one factor for each channel; that of a Div by its inverse."""
    index = find_constant(port.node)
    if index is not None:
        given = 1 / factor if port.node.op_type == "Div" else factor
        change(port.node, index, lambda values: (values.reshape(-1) * given).reshape(values.shape))


def _multiply_shift(port: Port, factor: Factor, change: Callable[..., None]) -> None:
    """Scale an added or clipping constant, which takes the channels' shape where it had none."""
    index, dims = find_constant(port.node), read_dims(port.node.outputs[0])
    if index is not None and dims is not None:
        spread = expand_factor(factor, port.layout, dims)
        change(port.node, index, lambda values: np.asarray(_trim(values * spread, values)))


def _trim(values: NDArray[np.float64], old: NDArray[np.float64]) -> NDArray[np.float64]:
    """Without leading axes of size 1 that the constant did not have before."""
    while values.ndim > max(1, old.ndim) and values.shape[0] == 1:
        values = values[0]
    return values


def align_input(node: ir.Node, weight: NDArray[np.float64], factor: Factor) -> Factor:
    """A factor of each input channel of a linear node in a shape that broadcasts against its weight."""
    tail = [1] * (weight.ndim - 2)
    if node.op_type == "Conv":
        group = node.attributes.get_int("group", 1)
        rows = np.repeat(factor.reshape(group, -1), weight.shape[0] // group, axis=0)
        return rows.reshape(weight.shape[0], weight.shape[1], *tail)
    if node.op_type == "Gemm" and is_transposed(node):
        return factor.reshape(1, -1)
    return factor.reshape(-1, 1, *tail)


def name_factors(group: ChannelGroup, factor: Factor) -> dict[str, Factor]:
    """The factor of each tensor of a group whose channels lie along one axis, spread over that axis."""
    return {
        str(value.name): np.repeat(factor, layout.repeat)
        for value, layout in group.layouts.items()
        if len(layout.axes) == 1
    }


def rescale_statistics(channels: ChannelStatistics, factor: Factor) -> ChannelStatistics:
    """What would have been observed of the scaled channels; exact for powers of two."""
    return replace(
        channels,
        low=channels.low * factor,
        high=channels.high * factor,
        total=channels.total * factor,
        total_squares=channels.total_squares * factor**2,
    )
