"""Scales the outlying channels of an activation down, and the weights that read them up.

One scale for a whole tensor leaves its ordinary channels few codes where some reach far beyond them. Where the nodes
around can take a factor up (see ``channel_groups``), those channels are brought to the others' range, as far as the
estimated noise of activations and weights together falls.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from assay.graph.channel_groups import ChannelGroup, list_groups
from assay.graph.channel_noise import Statistics, estimate_noise, measure_reach, read_readings
from assay.graph.rescale import Factor, Rescaled, name_factors, rescale_group

FENCE = 1.5
"""Interquartile ranges beyond the third quartile, of binary logarithms, from which a channel is an outlier (Tukey)."""
LEAST_BINADES = 2.0
"""No channel is an outlier within four times the median."""
WORTHWHILE = 0.8
"""Noise that must be left at most, of what there was."""


def scale_outliers(model: ir.Model, statistics: Statistics) -> Rescaled:
    """The model with outlying channels scaled by powers of two, so that no output changes by a bit.

    Args:
        model: a prepared one; left as it is.
        statistics: tensor name -> statistics of its channels, of ``list_channel_axes``; tensors without any keep
            their scales.
    """
    result = model.clone()
    factors: dict[str, Factor] = {}
    groups = list_groups(result.graph)
    for group in groups:
        factor = choose_factor(group, statistics, groups)
        if factor is not None and rescale_group(group, factor):
            factors |= name_factors(group, factor)
    return Rescaled(result, factors)


def choose_factor(group: ChannelGroup, statistics: Statistics, groups: Sequence[ChannelGroup]) -> Factor | None:
    """The factors of least estimated noise, or None where none is worth it."""
    readings = read_readings(group, statistics, groups)
    if readings is None:
        return None
    reach = measure_reach(group, readings)
    fence = find_fence(reach)
    if fence is None:
        return None
    noise = {0: estimate_noise(readings, np.ones(group.channels))}
    candidates: dict[int, Factor] = {}
    limit, number = fence, 0
    while limit < reach.max():
        number += 1
        candidates[number] = limit_channels(reach, limit)
        noise[number] = estimate_noise(readings, candidates[number])
        limit *= 2
    best = min(noise, key=lambda index: noise[index])
    return candidates[best] if best and noise[best] < WORTHWHILE * noise[0] else None


def find_fence(reach: NDArray[np.float64]) -> float | None:
    """Magnitude beyond which a channel is an outlier, or None where none is; channels of zeros do not count.

    Args:
        reach: ``[C]``, largest magnitude of each channel.
    """
    alive = np.log2(reach[reach > 0])
    if not alive.size:
        return None
    first, middle, third = np.quantile(alive, (0.25, 0.5, 0.75))
    fence = float(max(third + FENCE * (third - first), middle + LEAST_BINADES))
    return float(np.exp2(fence)) if alive.max() > fence else None


def limit_channels(reach: NDArray[np.float64], limit: float) -> Factor:
    """Powers of two, at most 1, that bring each channel within the limit."""
    over = np.maximum(reach / limit, 1.0)
    return np.exp2(-np.ceil(np.log2(over)))
