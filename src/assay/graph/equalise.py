"""Cross-layer equalisation: evens out the ranges of a weight's channels across activations that scale along.

Source: Nagel et al., "Data-free quantization through weight equalization and bias correction", ICCV 2019, section
4.1. There for pairs and depthwise triples of layers; here for any group of channels, sums among them: a channel's
range is the largest share that it has of the range of any weight that writes it, or reads it.
"""

from __future__ import annotations

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from assay.graph.channel_groups import ChannelGroup, list_groups
from assay.graph.channels import is_linear
from assay.graph.rescale import Factor, Rescaled, name_factors, rescale_group, round_factor
from assay.graph.weight_views import measure_magnitudes

SWEEPS = 100
CONVERGED = 0.01
"""Largest change of a factor's binary logarithm in the last sweep; the factors are rounded to whole ones."""


def equalise(model: ir.Model) -> Rescaled:
    """The model with channels scaled so that, in each group, weights before and after use alike shares of their range.

    Factors are powers of two: no output changes by a bit, save where a runtime's sums leave float32's normal range.

    Args:
        model: a prepared one; left as it is.
    """
    result = model.clone()
    groups = list_equalisable(result)
    factors: dict[str, Factor] = {}
    for group, factor in zip(groups, find_factors(groups), strict=True):
        rounded = round_factor(factor)
        if (rounded != 1).any() and rescale_group(group, rounded):
            factors |= name_factors(group, rounded)
    return Rescaled(result, factors)


def list_equalisable(model: ir.Model) -> list[ChannelGroup]:
    """Groups with a weight at either end."""
    return [
        group
        for group in list_groups(model.graph)
        if any(is_linear(port.node) for port in group.writers) and any(is_linear(port.node) for port in group.readers)
    ]


def find_factors(groups: list[ChannelGroup]) -> list[Factor]:
    """Factors of each group, ``[C] float64``, found by sweeping over the groups until they change no more."""
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
    """Factors that make a channel's share of the weights before it and of those after it equal.

    A channel that is zero on one side keeps its scale. The geometric mean of the factors is 1, so that the tensor
    as a whole keeps its magnitude.
    """
    before, after = np.zeros(group.channels), np.zeros(group.channels)
    for port in group.writers:
        if port.node in weights:
            rows = weights[port.node].max(axis=2, initial=0.0).reshape(group.channels, -1).max(axis=1)
            before = np.maximum(before, rows / max(float(rows.max()), np.finfo(np.float64).tiny))
    for port in group.readers:
        if port.node in weights:
            columns = weights[port.node].max(axis=1, initial=0.0).reshape(group.channels, -1).max(axis=1)
            after = np.maximum(after, columns / max(float(columns.max()), np.finfo(np.float64).tiny))
    alive = (before > 0) & (after > 0)
    factor = np.ones(group.channels)
    if alive.any():
        ratio = 0.5 * np.log2(after[alive] / before[alive])
        factor[alive] = np.exp2(ratio - ratio.mean())
    return factor


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
