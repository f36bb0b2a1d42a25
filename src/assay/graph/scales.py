"""Scales and zero points of integer encodings, for activations, weights and biases.

``real = scale * (code - zero_point)``. Source: ONNX operators QuantizeLinear and DequantizeLinear; Jacob et al. 2018,
"Quantization and training of neural networks for efficient integer-arithmetic-only inference", section 2.1.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from assay.core.calibration import TensorRange
from assay.core.precision import IntegerFormat, RangeMethod

STEPS = 255
POSITIVE_CODES = 127
REDUCED_CODES = 64
SMALLEST_SCALE = float(np.finfo(np.float32).tiny)
"""Below it lie denormals, which a CPU may flush to zero: a division by zero."""
LARGEST_SCALE = float(np.finfo(np.float32).max) / 256
LARGEST_BIAS_CODE = 2**31 - 2**16
"""A margin below 2**31, for the rounding of the float32 scales."""

WEIGHT_SHRINKS = np.linspace(1.0, 0.625, 16)
BLOCK = 1 << 16
"""Weights searched at once, so that the temporaries stay in the cache."""


@dataclass(frozen=True, slots=True)
class Encoding:
    """Scale and zero point of an activation; both are per tensor."""

    scale: np.float32
    zero_point: int
    format: IntegerFormat

    @property
    def code_dtype(self) -> type[np.uint8 | np.int8]:
        """NumPy type of its codes."""
        return np.uint8 if self.format is IntegerFormat.U8 else np.int8


@dataclass(frozen=True, slots=True)
class EncodedWeight:
    """A weight as integers with zero point 0.

    Attributes:
        codes: of the weight's shape.
        scale: ``[C] float32`` along ``axis``; ``[] float32`` for the whole tensor; in blocks, of the weight's shape
            with ``ceil(length / block)`` along ``axis``.
        axis: of the output channels, or None for one scale; in blocks, the one that they divide.
        block: elements along ``axis`` that share a scale; 0 where they are not divided.
    """

    codes: NDArray[np.int8]
    scale: NDArray[np.float32]
    axis: int | None
    block: int = 0


def spread_scale(encoded: EncodedWeight) -> NDArray[np.float32]:
    """The scale of every code, broadcast to the codes' shape."""
    if encoded.axis is None:
        return encoded.scale
    if encoded.block:
        length = encoded.codes.shape[encoded.axis]
        repeated = np.repeat(encoded.scale, encoded.block, axis=encoded.axis)
        return np.take(repeated, np.arange(length), axis=encoded.axis)
    shape = [1] * encoded.codes.ndim
    shape[encoded.axis] = -1
    return encoded.scale.reshape(shape)


def encode_activation(
    limits: TensorRange,
    activation: IntegerFormat,
    symmetric: bool,  # noqa: FBT001 the dialect's own field
) -> Encoding:
    """Scale and zero point of a clipping range; zero is exactly representable, an empty range has scale 1."""
    low, high = min(limits.low, 0.0), max(limits.high, 0.0)
    if symmetric:
        middle = 0 if activation is IntegerFormat.S8 else (STEPS + 1) // 2
        return Encoding(_guard_scale(max(-low, high) / POSITIVE_CODES), middle, activation)
    scale = _guard_scale((high - low) / STEPS)
    zero_point = round(activation.lowest - low / float(scale))
    return Encoding(scale, min(max(zero_point, activation.lowest), activation.highest), activation)


def _guard_scale(scale: float) -> np.float32:
    """A scale that is positive and normal as float32."""
    return np.float32(max(scale, SMALLEST_SCALE) if scale else 1.0)


def encode_weight(
    weight: NDArray[np.float32],
    axis: int | None,
    method: RangeMethod,
    largest_code: int,
    floor: NDArray[np.float64],
) -> EncodedWeight:
    """Symmetric integers of a weight.

    Args:
        weight: any shape.
        axis: of the output channels, or None for one scale.
        method: MIN_MAX takes the largest magnitude, MSE the scale of least squared error.
        largest_code: 127, or 64 for a dialect with a reduced range.
        floor: ``[C]`` or ``[1] float64``, smallest allowed scales (see ``find_bias_floor``).
    """
    rows = weight.reshape(1, -1) if axis is None else np.moveaxis(weight, axis, 0).reshape(weight.shape[axis], -1)
    scale = _solve_scales(rows, method, largest_code, floor)
    if axis is None:
        return EncodedWeight(_round_codes(weight, scale[0], largest_code), scale.reshape(()), None)
    shape = [1] * weight.ndim
    shape[axis] = -1
    return EncodedWeight(_round_codes(weight, scale.reshape(shape), largest_code), scale, axis)


def encode_blocks(
    weight: NDArray[np.float32], axis: int, block: int, method: RangeMethod, largest_code: int
) -> EncodedWeight:
    """Symmetric integers of a matrix with one scale for every ``block`` elements along an axis; the last may be short.

    Args:
        weight: ``[rows, columns]``.
        axis: that the blocks divide, the one that the product sums over.
        block: elements (>= 1).
        method: as for ``encode_weight``.
        largest_code: 127, or 64 for a dialect with a reduced range.

    Source: ONNX operator DequantizeLinear, version 21, attribute ``block_size``.
    """
    other = 1 - axis
    kept, length = weight.shape[other], weight.shape[axis]
    count = -(-length // block)

    # Filled up with zeros, which no scale makes worse.
    rows = np.pad(np.moveaxis(weight, other, 0), ((0, 0), (0, count * block - length))).reshape(kept * count, block)
    scale = _solve_scales(rows, method, largest_code, np.zeros(1))
    shaped = np.ascontiguousarray(np.moveaxis(scale.reshape(kept, count), 0, other))
    encoded = EncodedWeight(np.zeros(weight.shape, np.int8), shaped, axis, block)
    return replace(encoded, codes=_round_codes(weight, spread_scale(encoded), largest_code))


def _solve_scales(
    rows: NDArray[np.float32], method: RangeMethod, largest_code: int, floor: NDArray[np.float64]
) -> NDArray[np.float32]:
    """``[C]``: the scale of every ``[C, K]`` row."""
    widest = np.abs(rows).max(axis=1, initial=0.0).astype(np.float64) / largest_code
    scales = widest if method is RangeMethod.MIN_MAX else _search_scales(rows, widest, largest_code)
    # A channel of zeros takes the scale that suits its bias, any other one at least the smallest.
    least = np.where((scales > 0) | (floor > 0), SMALLEST_SCALE, 1.0)
    return np.maximum(np.maximum(scales, least), floor).astype(np.float32)


def _round_codes(
    weight: NDArray[np.float32], scale: NDArray[np.float32] | np.float32, largest: int
) -> NDArray[np.int8]:
    """Nearest codes in ``-largest..largest``; ties go to even, as QuantizeLinear has it."""
    codes: NDArray[np.int8] = np.clip(np.rint(weight / scale), -largest, largest).astype(np.int8)
    return codes


def _search_scales(rows: NDArray[np.float32], widest: NDArray[np.float64], largest_code: int) -> NDArray[np.float64]:
    """Scale of least squared error for every row, among shrunken ones of its largest magnitude.

    Args:
        rows: ``[C, K]``.
        widest: ``[C]``, scales that clip nothing.
        largest_code: codes lie in ``-largest_code..largest_code``.
    """

    def restore(block: NDArray[np.float32], limit: NDArray[np.float64]) -> NDArray[np.float32]:
        scale = np.maximum(limit, SMALLEST_SCALE).astype(np.float32)[:, None]
        restored: NDArray[np.float32] = scale * np.clip(np.rint(block / scale), -largest_code, largest_code)
        return restored

    return search_limits(rows, widest, WEIGHT_SHRINKS, restore)


def search_limits(
    rows: NDArray[np.float32],
    widest: NDArray[np.float64],
    factors: Iterable[float],
    restore: Callable[[NDArray[np.float32], NDArray[np.float64]], NDArray[np.float32]],
) -> NDArray[np.float64]:
    """Limit of least squared error for every row, among multiples of its widest one.

    Args:
        rows: ``[C, K]``.
        widest: ``[C]``, limits that clip nothing.
        factors: that are tried, the preferred one of equals first.
        restore: what is left of some rows, ``[B, K]``, once they were encoded at some limits, ``[B]``.
    """
    found, factors = widest.copy(), tuple(factors)
    step = max(1, BLOCK // max(1, rows.shape[1]))
    for start in range(0, len(rows), step):
        block, limit = rows[start : start + step], widest[start : start + step]
        best = np.full(len(block), np.inf)
        for factor in factors:
            cost = np.square(block - restore(block, limit * factor), dtype=np.float64).sum(axis=1)
            better = cost < best
            best[better] = cost[better]
            found[start : start + step][better] = (limit * factor)[better]
    return found


def find_bias_floor(bias: NDArray[np.float32], input_scale: np.float32) -> NDArray[np.float64]:
    """Smallest weight scales at which ``bias / (input_scale * weight_scale)`` fits an int32.

    A channel with tiny weights and an ordinary bias, such as a dead one after folding a batch normalization, needs
    it; its weights then round to fewer codes, which costs nothing beside its bias.
    """
    floor = np.abs(bias).astype(np.float64) / (float(input_scale) * LARGEST_BIAS_CODE)
    return np.minimum(floor, LARGEST_SCALE)


def encode_bias(bias: NDArray[np.float32] | NDArray[np.float64], scale: NDArray[np.float32]) -> NDArray[np.int32]:
    """Nearest int32 codes of a ``[C]`` bias at ``scale = input_scale * weight_scale``."""
    limit = 2**31 - 1
    return np.clip(np.rint(bias.astype(np.float64) / scale), -limit, limit).astype(np.int32)
