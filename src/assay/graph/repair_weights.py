"""Repairs of quantized weights: adaptive rounding, and the mean shift that a layer's bias must take back."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from assay.core.calibration import Calibration
from assay.core.errors import UnsupportedPlan
from assay.core.moments import LayerInput, LayerMoments
from assay.core.plan import Scheme
from assay.core.precision import Repair
from assay.graph.layer_inputs import describe_layer, find_channels, from_matrix, spread_channels, to_matrix
from assay.graph.rounded import RoundedWeights, identify_rounding
from assay.graph.rounding import Metric, solve_rounding
from assay.graph.scales import SMALLEST_SCALE, EncodedWeight, spread_scale

SMALL_LOSS = 1e-5
"""Share of its output's energy (-50 dB) up to which a layer's rounding is left alone: less than eight bits cost the
activations around it, which lose 1e-4 and more."""
FEWEST_VECTORS = 2
"""Observed vectors per input from which second moments are trusted to round by."""


@dataclass(frozen=True, slots=True)
class InputMoments:
    """Expectations over a layer's input vectors.

    Attributes:
        mean: ``[G, K] float64``.
        gram: ``[G, K, K] float64``, products; None where only the channels are known or too few were observed.
    """

    mean: NDArray[np.float64]
    gram: NDArray[np.float64] | None = None


@dataclass(frozen=True, slots=True)
class WeightRepairs:
    """What the weights of a model are quantized with beside their own values.

    Attributes:
        repairs: of the scheme; only BIAS and ROUND are read.
        calibration: statistics per tensor, or None.
        moments: node name -> moments of its input vectors.
        rounded: weights that were rounded before, for this model or another form of it.
    """

    repairs: frozenset[Repair] = frozenset()
    calibration: Calibration | None = None
    moments: Mapping[str, LayerMoments] = field(default_factory=dict)
    rounded: RoundedWeights = field(default_factory=RoundedWeights)

    @classmethod
    def of(
        cls,
        scheme: Scheme,
        calibration: Calibration | None,
        moments: Mapping[str, LayerMoments] | None,
        rounded: RoundedWeights | None = None,
    ) -> WeightRepairs:
        """The repairs that a scheme names.

        Raises:
            UnsupportedPlan: it names one whose statistics are not given.
        """
        repairs = frozenset(scheme.repairs)
        if Repair.BIAS in repairs and calibration is None:
            raise UnsupportedPlan("biases cannot be corrected without a calibration", "calibrate first")
        if Repair.ROUND in repairs and moments is None:
            raise UnsupportedPlan("weights cannot be rounded adaptively without moments", "observe them first")
        return cls(repairs, calibration, moments or {}, rounded or RoundedWeights())

    @property
    def corrects(self) -> bool:
        """Whether biases take back what rounding shifts."""
        return Repair.BIAS in self.repairs

    def find_input(self, node: ir.Node) -> InputMoments | None:
        """What is known of the vectors that a node's weight multiplies; None where nothing is."""
        layer, source = describe_layer(node), node.inputs[0]
        if layer is None or source is None:
            return None
        observed = self.moments.get(layer.node)
        if observed is not None and observed.count and observed.total.shape == (layer.groups, layer.size):
            trusted = observed.count >= FEWEST_VECTORS * layer.size
            return InputMoments(observed.mean, observed.gram / observed.count if trusted else None)
        return self._read_channels(layer, source)

    def _read_channels(self, layer: LayerInput, source: ir.Value) -> InputMoments | None:
        """What the statistics of the channels say of a layer's input vectors."""
        channels = None if self.calibration is None else find_channels(layer, source, self.calibration)
        if channels is None or not channels.count.all():
            return None
        return InputMoments(spread_channels(layer, source, channels.total / channels.count))

    def round(
        self,
        node: ir.Node,
        known: InputMoments | None,
        weight: NDArray[np.float32],
        encoded: EncodedWeight,
        largest_code: int,
        floor: NDArray[np.float64],
    ) -> EncodedWeight:
        """The weight with codes that cost the layer's output least; as it was where that is not worth it.

        Args:
            node: Conv, MatMul or Gemm.
            known: of its input.
            weight: in floats.
            encoded: the same, rounded to nearest.
            largest_code: 127, or 64 for a dialect with a reduced range.
            floor: ``[C]`` or ``[1]``, smallest allowed scales.
        """
        if Repair.ROUND not in self.repairs or known is None or known.gram is None:
            return encoded
        key = identify_rounding(node, (weight, known.gram, floor), encoded, largest_code)
        found = self.rounded.find(key)
        if found is None:
            found = self._solve(node, known.gram, weight, encoded, largest_code, floor)
            self.rounded.keep(key, found)
        return found

    def _solve(
        self,
        node: ir.Node,
        gram: NDArray[np.float64],
        weight: NDArray[np.float32],
        encoded: EncodedWeight,
        largest_code: int,
        floor: NDArray[np.float64],
    ) -> EncodedWeight:
        """The weight with codes that cost the layer's output least; as it was where that is not worth it."""
        wide = to_matrix(node, weight).astype(np.float64)
        steps = self._shape_scales(node, encoded, wide.shape)
        metric = Metric.of(gram)
        lost = metric.measure(wide - steps * to_matrix(node, encoded.codes)).sum()
        if lost <= SMALL_LOSS * metric.measure(wide).sum():
            return encoded
        least = None
        if not encoded.block:
            floors = np.maximum(floor, SMALLEST_SCALE)
            least = floors.reshape(1, 1, 1) if encoded.axis is None else np.broadcast_to(floors, encoded.scale.shape)
            least = least.reshape(steps.shape)
        codes, steps = solve_rounding(wide, steps, metric, largest_code, least)
        stored = from_matrix(node, codes, weight.shape).astype(np.int8)
        scale = encoded.scale if encoded.block else steps.astype(np.float32).reshape(encoded.scale.shape)
        return replace(encoded, codes=stored, scale=scale)

    def _shape_scales(self, node: ir.Node, encoded: EncodedWeight, shape: tuple[int, ...]) -> NDArray[np.float64]:
        """Scales as they broadcast to the weight's matrix: ``[1, 1, 1]``, ``[G, R, 1]``; in blocks ``[1, R, K]``."""
        if encoded.block:
            return to_matrix(node, spread_scale(encoded)).astype(np.float64)
        rows = (1, 1) if encoded.axis is None else shape[:2]
        return encoded.scale.astype(np.float64).reshape(*rows, 1)


def find_shift(
    node: ir.Node, known: InputMoments, weight: NDArray[np.float32], encoded: EncodedWeight
) -> NDArray[np.float64]:
    """``[C]``: by how much the encoded weight raises the mean of each output channel.

    Args:
        node: Conv, MatMul or Gemm.
        known: of its input.
        weight: in floats.
        encoded: the same in integers.

    Source: Nagel et al. 2019, "Data-free quantization through weight equalization and bias correction", section 4.2,
    with observed means in place of those that batch normalization tells.
    """
    change = spread_scale(encoded).astype(np.float64) * encoded.codes - weight
    shift: NDArray[np.float64] = (to_matrix(node, change) @ known.mean[:, :, None]).reshape(-1)
    return shift
