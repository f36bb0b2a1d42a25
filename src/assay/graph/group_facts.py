"""What is known of a group's weights and channels without running the model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from assay.core.calibration import ChannelStatistics
from assay.core.sensitivity import NodeGroup, WeightFacts
from assay.graph.outliers import find_fence
from assay.graph.quantize_roles import read_constant
from assay.graph.scales import EncodedWeight, spread_scale

WEIGHT = 1
WEIGHTED = frozenset({"Conv", "ConvTranspose", "MatMul", "Gemm"})


@dataclass(frozen=True, slots=True)
class ChannelFacts:
    """What one scale for all channels of a tensor means for them.

    Attributes:
        outlying: share of channels that reach far beyond the others.
        dead: share of channels that are zero throughout.
        rounding: noise power of rounding relative to a channel's own, 1 at most, mean over channels that are not zero.
    """

    outlying: float
    dead: float
    rounding: float


def measure_channels(channels: ChannelStatistics, step: float) -> ChannelFacts:
    """Hold the channels of a tensor against each other and against the step between codes.

    Args:
        channels: at least one.
        step: between neighbouring codes; rounding to it has an error of power ``step**2 / 12``.
    """
    reach = np.maximum(-channels.low, channels.high)
    fence = find_fence(reach)
    power = (channels.total_squares / np.maximum(channels.count, 1))[reach > 0]
    noise = np.minimum(step**2 / 12, power) / power
    return ChannelFacts(
        outlying=0.0 if fence is None else float(np.mean(reach > fence)),
        dead=float(np.mean(reach == 0)),
        rounding=float(noise.mean()) if noise.size else 0.0,
    )


def measure_weights(
    prepared: ir.Model, realised: ir.Model, groups: Sequence[NodeGroup]
) -> dict[str, list[WeightFacts]]:
    """What the integers of every constant weight lose, by the name of its group, the noisiest first.

    Args:
        prepared: the float model that was realised.
        realised: the plan as ONNX, with nodes of the same names.
        groups: of the plan.
    """
    floats = {str(node.name): node for node in prepared.graph}
    integers = {str(node.name): node for node in realised.graph}
    found: dict[str, list[WeightFacts]] = {}
    for group in groups:
        facts = [
            fact
            for name in group.quantized
            if floats[name].op_type in WEIGHTED and (fact := _measure_weight(floats[name], integers[name])) is not None
        ]
        found[group.name] = sorted(facts, key=lambda fact: -fact.noise)
    return found


def _measure_weight(node: ir.Node, realised: ir.Node) -> WeightFacts | None:
    """One weight; None where it is no constant, or stayed in floats."""
    weight, encoded = read_constant(node.inputs[WEIGHT]), _read_encoded(realised.inputs[WEIGHT])
    if weight is None or encoded is None:
        return None
    if node.op_type == "Gemm":  # its factor went into the integers
        weight = weight * np.float32(node.attributes.get_float("alpha", 1.0) or 0.0)
    axis = _find_output_axis(node)
    error = _to_rows(spread_scale(encoded) * encoded.codes - weight, axis)
    rows = _to_rows(weight, axis)
    power, reach = np.square(rows).sum(axis=1), np.abs(rows).max(axis=1)
    alive = power > 0
    if not alive.any():
        return None
    return WeightFacts(
        node=str(node.name),
        noise=float(np.mean(np.square(error).sum(axis=1)[alive] / power[alive])),
        spread=float(reach.max() / np.median(reach[alive])),
        per_channel=encoded.axis is not None,
    )


def _read_encoded(value: ir.Value | None) -> EncodedWeight | None:
    """The integers behind a dequantized constant."""
    producer = None if value is None else value.producer()
    if producer is None or producer.op_type != "DequantizeLinear":
        return None
    constants = [None if source is None else source.const_value for source in producer.inputs]
    if any(constant is None for constant in constants[:2]):
        return None
    codes, scale, *zero = (constant.numpy() for constant in constants if constant is not None)
    middle = zero[0].reshape(-1)[0] if zero else 0
    shifted = codes.astype(np.int16) - np.int16(middle)
    axis = producer.attributes.get_int("axis", 1) if scale.ndim else None
    block = producer.attributes.get_int("block_size", 0) or 0
    return EncodedWeight(shifted.astype(np.int8), scale, axis, block)


def _find_output_axis(node: ir.Node) -> int:
    """Axis of the output channels of a weight."""
    if node.op_type == "Gemm":
        return 0 if node.attributes.get_int("transB", 0) else 1
    return 0 if node.op_type == "Conv" else 1


def _to_rows(weight: NDArray[np.float32], axis: int) -> NDArray[np.float64]:
    """``[C, K] float64``: one row for each output channel."""
    rows: NDArray[np.float64] = np.moveaxis(weight, axis, 0).reshape(weight.shape[axis], -1).astype(np.float64)
    return rows
