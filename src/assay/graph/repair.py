"""Applies the repairs that rescale a float model before it is quantized."""

from __future__ import annotations

from collections.abc import Collection, Mapping

import onnx_ir as ir

from assay.core.calibration import Calibration, ChannelStatistics
from assay.core.precision import Repair
from assay.graph.channel_groups import list_groups
from assay.graph.channels import is_linear
from assay.graph.equalise import equalise, list_equalisable
from assay.graph.outliers import scale_outliers
from assay.graph.rescale import Rescaled, rescale_statistics
from assay.graph.smooth import list_smoothable, smooth

RESCALING = (Repair.EQUALISE, Repair.OUTLIERS, Repair.SMOOTH)
"""Repairs that rewrite the float model, in the order in which they are applied."""


def repair_model(
    prepared: ir.Model, repairs: Collection[Repair], calibration: Calibration, *, per_channel: bool = True
) -> ir.Model:
    """The prepared model with its inner channels rescaled; it computes the same and must be observed anew.

    Args:
        prepared: left as it is.
        repairs: EQUALISE, OUTLIERS and SMOOTH are applied, in this order; others are left to ``realise``.
        calibration: of the prepared model, with statistics per channel of ``list_channel_axes``; tensors without
            them keep their scales under OUTLIERS and SMOOTH, and are equalised by their weights alone.
        per_channel: weights will have one scale for each output channel, as the dialect says.

    Returns:
        A model with the same node and tensor names.
    """
    found = {name: tensor.channels for name, tensor in calibration.tensors.items()}
    channels = {name: one for name, one in found.items() if one is not None}
    model = prepared.clone()
    for repair in RESCALING:
        if repair in repairs:
            rescaled = _apply(repair, model, channels, per_channel=per_channel)
            model = rescaled.model
            channels = {
                name: rescale_statistics(one, rescaled.factors[name]) if name in rescaled.factors else one
                for name, one in channels.items()
            }
    return model


def _apply(
    repair: Repair, model: ir.Model, channels: Mapping[str, ChannelStatistics], *, per_channel: bool
) -> Rescaled:
    """One repair."""
    if repair is Repair.EQUALISE:
        return equalise(model, channels, per_channel=per_channel)
    return scale_outliers(model, channels) if repair is Repair.OUTLIERS else smooth(model, channels)


def list_repairs(prepared: ir.Model) -> tuple[Repair, ...]:
    """Repairs that can change a model at all, in the order of the enum; others need not be tried.

    EQUALISE wants a group of channels with weights on both sides, OUTLIERS one that weights read, SMOOTH one that
    matrix products read and no convolution writes, BIAS and ROUND any layer with a constant weight.
    """
    groups = list_groups(prepared.graph)
    linear = any(is_linear(node) for node in prepared.graph)
    possible = {
        Repair.EQUALISE: bool(list_equalisable(prepared)),
        Repair.OUTLIERS: bool(groups),
        Repair.SMOOTH: bool(list_smoothable(groups)),
        Repair.BIAS: linear,
        Repair.ROUND: linear,
    }
    return tuple(repair for repair in Repair if possible[repair])
