"""What eight bits cost the readers of a group of channels, estimated from statistics of each channel.

Rounding to a step ``d`` adds noise of variance ``d**2 / 12`` (Widrow and Kollar, "Quantization noise", 2008, chapter
4). An activation has one scale, a weight one for each output channel or one alone. Counted is what reaches the outputs
of the nodes that read the group: of the activation, of their weights, and of the weights that write the group; as a
share of the signal there. Where those outputs can be scaled themselves, each of their channels counts by the weights
that read it next, so that no estimate depends on the scales that the channels happen to have.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from assay.core.calibration import ChannelStatistics
from assay.graph.channel_groups import ChannelGroup, Port
from assay.graph.channels import find_input_axis, is_linear
from assay.graph.layouts import read_dims
from assay.graph.rescale import Factor
from assay.graph.weight_views import measure_magnitudes, measure_powers, view_weight

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
        importance: what noise of variance 1 on each output channel counts, ``[G, M] float64``.
    """

    port: Port
    channels: ChannelStatistics
    magnitudes: NDArray[np.float64]
    powers: NDArray[np.float64]
    taps: int
    importance: NDArray[np.float64]


def read_readings(
    group: ChannelGroup, statistics: Statistics, groups: Sequence[ChannelGroup] = ()
) -> list[Reading] | None:
    """All linear readers of a group; None where there are none, or the input of one was not observed.

    Args:
        group: of the model as it is now.
        statistics: tensor name -> statistics of its channels.
        groups: all of the model's, to see what the readers' outputs are multiplied by.
    """
    found: list[Reading] = []
    for port in group.readers:
        if not is_linear(port.node):
            continue
        channels = find_channels(port, statistics)
        weight = port.node.inputs[1]
        if channels is None or weight is None or weight.const_value is None:
            return None
        magnitudes, powers = measure_magnitudes(port.node), measure_powers(port.node)
        taps = int(weight.const_value.size) // max(1, magnitudes.size)
        mean_squares = (channels.total_squares / channels.count).reshape(powers.shape[0], 1, -1)
        gain = measure_gain(port.node, groups)
        weighed = np.ones(powers.shape[:2]) if gain is None else gain.reshape(powers.shape[:2])
        signal = float(((powers * mean_squares).sum(axis=2) * weighed).sum())
        found.append(Reading(port, channels, magnitudes, powers, taps, weighed / signal if signal > 0 else weighed))
    return found or None


def measure_gain(node: ir.Node, groups: Sequence[ChannelGroup]) -> NDArray[np.float64] | None:
    """Sum of squares of the weights that read each output channel of a linear node; None where it keeps its scale."""
    for group in groups:
        port = next((port for port in group.writers if port.node is node), None)
        if port is None:
            continue
        gain = np.zeros(group.channels)
        for reader in group.readers:
            if is_linear(reader.node):
                gain += measure_powers(reader.node).sum(axis=1).reshape(group.channels, -1).sum(axis=1)
        return np.repeat(gain, port.layout.repeat)
    return None


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


@dataclass(frozen=True, slots=True)
class Writing:
    """A linear node that writes a group, with one scale for its whole weight.

    Attributes:
        rows: largest magnitude of the weights that write each channel, ``[C] float64``.
        powers: sum of the mean squares of what those weights multiply, ``[C] float64``.
    """

    rows: NDArray[np.float64]
    powers: NDArray[np.float64]


def read_writings(group: ChannelGroup, statistics: Statistics) -> list[Writing]:
    """Linear writers of a group whose inputs were observed."""
    found = []
    for port in group.writers:
        value = port.node.inputs[0] if is_linear(port.node) else None
        channels = None if value is None else statistics.get(str(value.name))
        if channels is None or channels.axis != find_input_axis(port.node) or not channels.count.all():
            continue
        view = view_weight(port.node)
        mean_squares = (channels.total_squares / channels.count).reshape(view.shape[0], -1).sum(axis=1)
        powers = np.repeat(mean_squares * view.shape[3], view.shape[1])
        rows = np.abs(view).max(axis=(2, 3), initial=0.0).astype(np.float64)
        shape = (group.channels, -1)
        found.append(Writing(rows.reshape(shape).max(axis=1), powers.reshape(shape).max(axis=1)))
    return found


def estimate_noise(readings: list[Reading], factor: Factor, writings: list[Writing] | None = None) -> float:
    """Noise that eight bits add to the readers' outputs if the group is scaled, as a share of their signal.

    Args:
        readings: of one group.
        factor: ``[C] float64``, of each channel.
        writings: of the same group, where every weight has one scale; None where each output channel has its own, so
            that scaling it costs its writer nothing.
    """
    noise = 0.0
    for reading in readings:
        noise += _estimate_activation(reading, factor) + _estimate_weight(reading, factor, whole=writings is not None)
        for writing in writings or ():
            step = float((writing.rows * factor).max()) / WEIGHT_STEPS
            noise += step**2 * _carry(reading, writing.powers / factor**2)
    return noise / 12


def _carry(reading: Reading, variance: NDArray[np.float64]) -> float:
    """Noise at the outputs of a reader for noise of a ``[C]`` variance on its inputs, before they are scaled."""
    groups, _, columns = reading.powers.shape
    spread = np.repeat(variance, reading.port.layout.repeat)
    carried = (reading.powers * spread.reshape(groups, 1, columns)).sum(axis=2)
    return float((carried * reading.importance).sum())


def _estimate_activation(reading: Reading, factor: Factor) -> float:
    """Twelve times the noise that rounding the input of a reader adds to its outputs."""
    spread = np.repeat(factor, reading.port.layout.repeat)
    low = min(0.0, float((reading.channels.low * spread).min()))
    high = max(0.0, float((reading.channels.high * spread).max()))
    return ((high - low) / ACTIVATION_STEPS) ** 2 * _carry(reading, 1 / factor**2)


def _estimate_weight(reading: Reading, factor: Factor, *, whole: bool) -> float:
    """Twelve times the noise that rounding the weight of a reader adds to its outputs."""
    channels, (groups, rows, columns) = reading.channels, reading.magnitudes.shape
    spread = np.repeat(factor, reading.port.layout.repeat)
    scaled = (reading.magnitudes / spread.reshape(groups, 1, columns)).max(axis=2)
    steps = np.broadcast_to(scaled.max() if whole else scaled, (groups, rows)) / WEIGHT_STEPS
    power = (channels.total_squares / channels.count * spread**2).reshape(groups, columns).sum(axis=1) * reading.taps
    return float((steps**2 * power[:, None] * reading.importance).sum())
