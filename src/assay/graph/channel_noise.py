"""What eight bits cost the readers of a group of channels, estimated from statistics of each channel.

Rounding to a step ``d`` adds noise of variance ``d**2 / 12`` (Widrow and Kollar, "Quantization noise", 2008, chapter
4). A scale for a whole activation and one for each output channel of a weight are assumed: what integer dialects have.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from assay.core.calibration import ChannelStatistics
from assay.graph.channel_groups import ChannelGroup, Port
from assay.graph.channels import is_linear
from assay.graph.layouts import read_dims
from assay.graph.rescale import Factor
from assay.graph.weight_views import measure_magnitudes, measure_powers

Statistics = Mapping[str, ChannelStatistics]
ACTIVATION_STEPS = 255
WEIGHT_STEPS = 127


@dataclass(frozen=True, slots=True)
class Reading:
    """A linear node that reads a group, and what is known of its input.

    Attributes:
        port: the node.
        channels: of its input, along the axis that the group has.
        magnitudes: of its weight, ``[G, M, C] float64``.
        powers: sums of squares of its weight, ``[G, M, C] float64``.
        taps: elements of its weight for each pair of channels.
    """

    port: Port
    channels: ChannelStatistics
    magnitudes: NDArray[np.float64]
    powers: NDArray[np.float64]
    taps: int


def read_readings(group: ChannelGroup, statistics: Statistics) -> list[Reading] | None:
    """All linear readers of a group; None where there are none, or the input of one was not observed."""
    found: list[Reading] = []
    for port in group.readers:
        if not is_linear(port.node):
            continue
        channels = find_channels(port, statistics)
        weight = port.node.inputs[1]
        if channels is None or weight is None or weight.const_value is None:
            return None
        magnitudes = measure_magnitudes(port.node)
        taps = int(weight.const_value.size) // max(1, magnitudes.size)
        found.append(Reading(port, channels, magnitudes, measure_powers(port.node), taps))
    return found or None


def find_channels(port: Port, statistics: Statistics) -> ChannelStatistics | None:
    """Statistics of the tensor that a reader reads, where they lie along the group's axis."""
    value: ir.Value | None = port.node.inputs[0]
    dims = read_dims(value)
    channels = None if value is None else statistics.get(str(value.name))
    if channels is None or dims is None or port.layout.axes != (channels.axis % len(dims),):
        return None
    return channels if len(channels.low) == dims[port.layout.axes[0]] and channels.count.all() else None


def measure_reach(group: ChannelGroup, readings: list[Reading]) -> NDArray[np.float64]:
    """Largest magnitude that any reader sees of each channel, ``[C] float64``."""
    reach = np.zeros(group.channels)
    for reading in readings:
        magnitude = np.maximum(-reading.channels.low, reading.channels.high)
        reach = np.maximum(reach, magnitude.reshape(group.channels, -1).max(axis=1))
    return reach


def estimate_noise(readings: list[Reading], factor: Factor) -> float:
    """Variance that eight bits add to the readers' outputs, summed over output channels, if the group is scaled.

    Args:
        readings: of one group.
        factor: ``[C] float64``, of each channel.
    """
    return sum(_estimate_reader(reading, np.repeat(factor, reading.port.layout.repeat)) for reading in readings)


def _estimate_reader(reading: Reading, factor: Factor) -> float:
    """The share of one reader."""
    channels, shape = reading.channels, reading.magnitudes.shape
    spread = factor.reshape(shape[0], 1, shape[2])
    low = min(0.0, float((channels.low * factor).min()))
    high = max(0.0, float((channels.high * factor).max()))
    step = (high - low) / ACTIVATION_STEPS
    gain = float((reading.powers / spread**2).sum())
    steps = (reading.magnitudes / spread).max(axis=2) / WEIGHT_STEPS
    power = (channels.total_squares / channels.count * factor**2).reshape(shape[0], -1).sum(axis=1) * reading.taps
    return (step**2 * gain + float((steps**2 * power[:, None]).sum())) / 12
