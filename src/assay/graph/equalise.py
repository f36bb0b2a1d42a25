"""Cross-layer equalisation: evens out the ranges of a weight's channels across activations that scale along.

Source: Nagel et al., "Data-free quantization through weight equalization and bias correction", ICCV 2019, section
4.1. There for pairs and depthwise triples of layers and for weights alone; here for any group of channels, sums among
them, and where the activations' statistics are known the ranges that they get count too: a channel of small weights and
a large bias would otherwise be blown up, and the one scale of its tensor with it.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from assay.core.calibration import ChannelStatistics
from assay.graph.channel_groups import ChannelGroup, list_groups
from assay.graph.channel_noise import Reading, Statistics, estimate_noise, measure_reach, read_readings, read_writings
from assay.graph.channels import is_linear
from assay.graph.rescale import Factor, Rescaled, name_factors, rescale_group, rescale_statistics, round_factor
from assay.graph.weight_views import measure_magnitudes

SWEEPS = 100
CONVERGED = 0.01
"""Largest change of a factor's binary logarithm in the last sweep; the factors are rounded to whole ones."""
ROUNDS = 8
SHARES = (0.0, 0.25, 0.5, 0.75, 1.0)
"""How much of the uneven ranges before the weights that read a group is moved into them."""
WORTHWHILE = 0.98
"""Noise that must be left at most, of what there was."""


def equalise(model: ir.Model, statistics: Statistics | None = None, *, per_channel: bool = True) -> Rescaled:
    """The model with channels scaled so that, in each group, all weights and activations use their ranges evenly.

    Factors are powers of two: no output changes by a bit, save where a runtime's sums leave float32's normal range.

    Args:
        model: a prepared one; left as it is.
        statistics: tensor name -> statistics of its channels, of ``list_channel_axes``. A group with tensors that have
            none is equalised by its weights alone, as if those had one scale each.
        per_channel: weights will have one scale for each output channel.
    """
    result = model.clone()
    known, factors = dict(statistics or {}), dict[str, Factor]()
    groups = list_equalisable(result)
    blind = [group for group in groups if read_readings(group, known) is None]
    for group, factor in zip(blind, find_factors(blind), strict=True):
        _apply(group, round_factor(factor), known, factors)
    seen = [group for group in groups if group not in blind]
    for _ in range(ROUNDS):
        moved = False
        for group in seen:
            factor = choose_factor(group, known, groups, per_channel=per_channel)
            moved = _apply(group, factor, known, factors) or moved
        if not moved:
            break
    return Rescaled(result, factors)


def _apply(
    group: ChannelGroup, factor: Factor, known: dict[str, ChannelStatistics], factors: dict[str, Factor]
) -> bool:
    """Scale a group, what is known of its tensors, and its factors so far; whether anything changed."""
    if (factor == 1).all() or not rescale_group(group, factor):
        return False
    for name, step in name_factors(group, factor).items():
        factors[name] = factors[name] * step if name in factors else step
        if name in known:
            known[name] = rescale_statistics(known[name], step)
    return True


def list_equalisable(model: ir.Model) -> list[ChannelGroup]:
    """Groups with weights at either end."""
    return [group for group in list_groups(model.graph) if any(is_linear(port.node) for port in group.writers)]


def choose_factor(
    group: ChannelGroup, statistics: Statistics, groups: Sequence[ChannelGroup], *, per_channel: bool
) -> Factor:
    """Of some ways to even out ranges the one of least estimated noise; all ones where none is worth it."""
    readings = read_readings(group, statistics, groups)
    same = np.ones(group.channels)
    if readings is None:
        return same
    writings = None if per_channel else read_writings(group, statistics)
    after = measure_after(readings)
    befores = [normalise(measure_reach(group, readings))]
    for writing in writings or ():
        befores += [normalise(writing.rows), np.maximum(befores[0], normalise(writing.rows))]
    candidates = [round_factor(mix(before, after, share)) for before in befores for share in SHARES]
    noise = [estimate_noise(readings, candidate, writings) for candidate in candidates]
    best = int(np.argmin(noise))
    return candidates[best] if noise[best] < WORTHWHILE * estimate_noise(readings, same, writings) else same


def mix(before: NDArray[np.float64], after: NDArray[np.float64], share: float) -> Factor:
    """Factors ``after**(1 - share) / before**share`` of geometric mean 1; a channel of zeros keeps its scale."""
    alive = (before > 0) & (after > 0)
    factor = np.ones(len(before))
    if alive.any():
        exponent = (1 - share) * np.log2(after[alive]) - share * np.log2(before[alive])
        factor[alive] = np.exp2(exponent - exponent.mean())
    return factor


def measure_after(readings: list[Reading]) -> NDArray[np.float64]:
    """Largest share that each channel has of the range of a weight that reads it, ``[C] float64``."""
    shares = [
        normalise(reading.magnitudes.max(axis=1, initial=0.0).reshape(-1, reading.port.layout.repeat).max(axis=1))
        for reading in readings
    ]
    largest: NDArray[np.float64] = np.max(shares, axis=0)
    return largest


def normalise(ranges: NDArray[np.float64]) -> NDArray[np.float64]:
    """Ranges as shares of the largest."""
    return ranges / max(float(ranges.max()), float(np.finfo(np.float64).tiny))


def find_factors(groups: list[ChannelGroup]) -> list[Factor]:
    """Factors of each group by its weights alone, ``[C] float64``: sweeps over the groups until they change no more."""
    ports = [port for group in groups for port in (*group.writers, *group.readers) if is_linear(port.node)]
    weights = {port.node: measure_magnitudes(port.node) for port in ports}
    factors = [np.ones(group.channels) for group in groups]
    for _ in range(SWEEPS):
        moved = 0.0
        for index, group in enumerate(groups):
            step = balance(group, weights)
            factors[index] = factors[index] * step
            scale_weights(group, weights, step)
            moved = max(moved, float(np.abs(np.log2(step)).max()))
        if moved < CONVERGED:
            break
    return factors


def balance(group: ChannelGroup, weights: dict[ir.Node, NDArray[np.float64]]) -> Factor:
    """Factors that make a channel's share of the weights before it and of those after it equal."""
    before = [weights[port.node].max(axis=2, initial=0.0) for port in group.writers if port.node in weights]
    after = [weights[port.node].max(axis=1, initial=0.0) for port in group.readers if port.node in weights]
    sides = [
        np.max([normalise(ranges.reshape(group.channels, -1).max(axis=1)) for ranges in side], axis=0)
        for side in (before, after)
    ]
    return mix(sides[0], sides[1], 0.5)


def scale_weights(group: ChannelGroup, weights: dict[ir.Node, NDArray[np.float64]], factor: Factor) -> None:
    """Scale magnitudes as ``rescale_group`` would scale the weights, in place."""
    for port in group.writers:
        if port.node in weights:
            groups, rows, _ = weights[port.node].shape
            weights[port.node] *= np.repeat(factor, port.layout.repeat).reshape(groups, rows, 1)
    for port in group.readers:
        if port.node in weights:
            groups, _, columns = weights[port.node].shape
            weights[port.node] /= np.repeat(factor, port.layout.repeat).reshape(groups, 1, columns)
