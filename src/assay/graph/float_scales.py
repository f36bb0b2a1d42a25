"""Scales of 8-bit floats (e4m3), for activations and weights.

``real = scale * code``, where a code is one of the 253 finite values of E4M3: up to 448, with steps that grow with the
magnitude. Sources: ONNX operator QuantizeLinear, version 19; Micikevicius et al. 2022, "FP8 formats for deep learning".
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import ml_dtypes
import numpy as np
from numpy.typing import NDArray

from assay.core.calibration import TensorRange
from assay.core.precision import Precision, RangeMethod
from assay.graph.scales import SMALLEST_SCALE, search_limits

E4M3 = np.dtype(ml_dtypes.float8_e4m3fn)
LARGEST = Precision.FP8.largest
HALF_SCALE = 2.0**-14
"""Smallest normal number of FP16, which scales are stored in where the rest of a plan is FP16."""
LEAST_REACH = 2.0**-3
"""Largest code that a tensor must have for ``HALF_SCALE`` to be its scale: its steps are no coarser than INT8's."""
STRETCHES = 2.0 ** (np.arange(7, -9, -1) / 8)
"""Limits that are tried for a weight, as shares of its largest magnitude.

Those above 1 clip nothing: they move the steps, at a cost only for values thousands of times smaller.
"""

Codes = NDArray[Any]
"""Of ``E4M3``, which NumPy's types do not know."""


@dataclass(frozen=True, slots=True)
class EncodedFloats:
    """A weight in 8-bit floats.

    Attributes:
        codes: of the weight's shape, ``float8_e4m3fn``.
        scale: ``[C] float32`` along the axis of the output channels.
    """

    codes: Codes
    scale: NDArray[np.float32]


def round_codes(values: NDArray[np.float32]) -> Codes:
    """Nearest codes, ties to even; what lies beyond the largest becomes the largest, as QuantizeLinear saturates."""
    codes: Codes = np.clip(values, -LARGEST, LARGEST).astype(E4M3)
    return codes


def find_scale(limits: TensorRange) -> np.float32:
    """Scale of an activation whose clipping range reaches the largest code; 1 for an empty range."""
    limit = np.array([max(-limits.low, limits.high)])
    return np.float32(find_scales(limit)[0])


def find_scales(limits: NDArray[np.float64]) -> NDArray[np.float32]:
    """``[C] float32`` scales at which ``[C]`` magnitudes reach the largest code.

    Scales that FP16 would round are raised to its smallest normal number where the codes lose nothing that counts by
    it: steps of a float shrink with the values.
    """
    scales = limits / LARGEST
    raised = np.where((scales < HALF_SCALE) & (limits >= LEAST_REACH * HALF_SCALE), HALF_SCALE, scales)
    return np.where(raised > 0, np.maximum(raised, SMALLEST_SCALE), 1.0).astype(np.float32)


def encode_floats(weight: NDArray[np.float32], axis: int, method: RangeMethod) -> EncodedFloats:
    """A weight in 8-bit floats with a scale for every output channel.

    Args:
        weight: any shape.
        axis: of the output channels.
        method: MIN_MAX lets the largest magnitude be the largest code, MSE takes the scale of least squared error.
    """
    rows = np.moveaxis(weight, axis, 0).reshape(weight.shape[axis], -1)
    widest = np.abs(rows).max(axis=1, initial=0.0).astype(np.float64)
    limits = widest if method is RangeMethod.MIN_MAX else search_limits(rows, widest, STRETCHES, _restore)
    scale = find_scales(limits)
    shape = [1] * weight.ndim
    shape[axis] = -1
    return EncodedFloats(round_codes(weight / scale.reshape(shape)), scale)


def _restore(block: NDArray[np.float32], limits: NDArray[np.float64]) -> NDArray[np.float32]:
    """What is left of ``[B, K]`` rows once they were encoded at ``[B]`` limits."""
    scale = find_scales(limits)[:, None]
    restored: NDArray[np.float32] = scale * round_codes(block / scale).astype(np.float32)
    return restored
