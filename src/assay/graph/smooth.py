"""SmoothQuant: moves part of the range of a matrix product's activations into its weights.

Source: Xiao et al., "SmoothQuant: Accurate and efficient post-training quantization for large language models", ICML
2023, equation 4. The factor goes into whatever makes the activation and has constants for it: a normalization, a
product with a constant, or a linear layer; where nothing takes it up, nothing is changed, for a product of its own
would cost time.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import onnx_ir as ir

from assay.graph.channel_groups import ChannelGroup, list_groups
from assay.graph.channel_noise import Statistics, estimate_noise, measure_reach, read_readings
from assay.graph.channels import CONVOLUTIONS
from assay.graph.equalise import mix
from assay.graph.rescale import Factor, Rescaled, name_factors, rescale_group, round_factor

ALPHA = 0.5
"""Share of an activation's range, in binary logarithms, that its weights take."""


def smooth(model: ir.Model, statistics: Statistics, alpha: float = ALPHA) -> Rescaled:
    """The model with activations of matrix products scaled, by powers of two, so that no output changes by a bit.

    Args:
        model: a prepared one; left as it is.
        statistics: tensor name -> statistics of its channels, of ``list_channel_axes``; tensors without any keep
            their scales.
        alpha: 0 evens out the weights alone, 1 the activations alone.
    """
    result = model.clone()
    factors: dict[str, Factor] = {}
    groups = list_groups(result.graph)
    for group in list_smoothable(groups):
        factor = find_factor(group, statistics, alpha, groups)
        if factor is not None and rescale_group(group, factor):
            factors |= name_factors(group, factor)
    return Rescaled(result, factors)


def list_smoothable(groups: Sequence[ChannelGroup]) -> list[ChannelGroup]:
    """Groups that matrix products read, and no convolution reads or writes."""
    return [
        group
        for group in groups
        if not any(port.node.op_type in CONVOLUTIONS for port in (*group.readers, *group.writers))
    ]


def find_factor(
    group: ChannelGroup, statistics: Statistics, alpha: float, groups: Sequence[ChannelGroup] = ()
) -> Factor | None:
    """Factors ``max|W|**(1 - alpha) / max|X|**alpha`` of geometric mean 1, rounded to powers of two.

    The largest magnitudes are over all products that read a channel; a channel of zeros keeps its scale. None where
    the inputs were not observed, or where the estimated noise would not fall.
    """
    readings = read_readings(group, statistics, groups)
    if readings is None:
        return None
    columns = [
        reading.magnitudes.max(axis=1, initial=0.0).reshape(group.channels, -1).max(axis=1) for reading in readings
    ]
    factor = round_factor(mix(measure_reach(group, readings), np.max(columns, axis=0), alpha))
    falls = estimate_noise(readings, factor) < estimate_noise(readings, np.ones(group.channels))
    return factor if falls else None
