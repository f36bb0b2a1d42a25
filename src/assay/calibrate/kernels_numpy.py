"""The kernels in NumPy: what proves the compiled ones, and stands in where Numba cannot be imported."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from assay.calibrate.floats import F32, Halves, widen_halves
from assay.calibrate.layout import BINS, INFINITY_BIN, LANES, MAGNITUDE, ROW_LANES, SIGN_BIN, STRIDE

F64 = NDArray[np.float64]
I32 = NDArray[np.int32]
I64 = NDArray[np.int64]
U32 = NDArray[np.uint32]

CHUNK = 1 << 16
"""Values handled at once, a multiple of the stride: the temporaries stay in the cache."""


def observe_items(
    values: F32 | Halves, groups: I64, histogram: I64, coarse: I64, tables: U32, counts: I64, numbers: F64
) -> None:
    """See ``kernels.Kernels``."""
    del tables
    for item, row in enumerate(values):
        lanes = np.zeros((2, LANES))
        bins = np.zeros(BINS, np.int64)
        low, high, zeros = math.inf, -math.inf, 0
        for begin in range(0, row.size, CHUNK):
            chunk = widen_halves(row[begin : begin + CHUNK])
            bins += np.bincount(chunk.view(np.uint32) >> 16, minlength=BINS)
            finite = np.isfinite(chunk)
            low = min(low, float(chunk.min(initial=np.inf, where=finite)))
            high = max(high, float(chunk.max(initial=-np.inf, where=finite)))
            zeros += chunk.size - int(np.count_nonzero(chunk))
            lanes = _add_lanes(lanes, np.where(finite, chunk, np.float32(0)))
        histogram += bins
        coarse[:, groups[item]] += bins.reshape(-1, 16).sum(axis=1)
        counts[item] = count_nonfinite(bins), zeros
        numbers[item] = *_fold(lanes), low + 0.0, high + 0.0


def list_keys(values: F32) -> I32:
    """Bit patterns as integers that sort like the numbers, -0.0 right below 0.0."""
    patterns = values.view(np.int32)
    return patterns ^ ((patterns >> 31) & MAGNITUDE)


def count_nonfinite(histogram: I64) -> int:
    """Number of NaN and infinite values in a ``[65536]`` histogram."""
    return int(histogram[INFINITY_BIN:SIGN_BIN].sum() + histogram[SIGN_BIN + INFINITY_BIN :].sum())


def _add_lanes(lanes: F64, values: F32) -> F64:
    """Lanes of the sums and of the sums of squares, ``[2, LANES]``, one step at a time."""
    rows = _pad(values, STRIDE).reshape(-1, 4, LANES)
    for lane, terms in zip(lanes, (rows, rows * rows), strict=True):
        steps = (terms[:, 0] + terms[:, 1]) + (terms[:, 2] + terms[:, 3])
        lane[:] = np.add.accumulate(np.concatenate([lane[None], steps]), axis=0)[-1]
    return lanes


def _pad(values: F32, multiple: int) -> F64:
    """As float64, with zeros along the last axis up to a multiple."""
    width = values.shape[-1]
    padded = np.zeros((*values.shape[:-1], -(-width // multiple) * multiple))
    padded[..., :width] = values
    return padded


def _fold(lanes: F64) -> F64:
    """Sums over the last axis, a power of two long, by halves."""
    while lanes.shape[-1] > 1:
        half = lanes.shape[-1] // 2
        lanes = lanes[..., :half] + lanes[..., half:]
    folded: F64 = lanes[..., 0]
    return folded


def observe_channels(values: F32 | Halves, low: I32, high: I32, count: I64, sums: F64) -> None:
    """See ``kernels.Kernels``."""
    values = widen_halves(values)
    finite = np.isfinite(values)
    keys = list_keys(values)
    low[:] = np.minimum(low, np.where(finite, keys, np.iinfo(np.int32).max).min(axis=(0, 1, 3), initial=2**31 - 1))
    high[:] = np.maximum(high, np.where(finite, keys, np.iinfo(np.int32).min).max(axis=(0, 1, 3), initial=-(2**31)))
    count += finite.sum(axis=(0, 1, 3))
    for item, clean in enumerate(np.where(finite, values, np.float32(0))):
        rows = _pad(clean, ROW_LANES)  # [outer, C, padded inner]
        for index, terms in enumerate((rows, rows * rows)):
            sums[item, index] = _accumulate_rows(_fold(_add_steps(terms)))


def _add_steps(terms: F64) -> F64:
    """Lanes ``[outer, C, ROW_LANES]`` of every row, one step at a time."""
    steps = terms.reshape(*terms.shape[:-1], terms.shape[-1] // ROW_LANES, ROW_LANES)
    start = np.zeros((*steps.shape[:2], 1, ROW_LANES))
    lanes: F64 = np.add.accumulate(np.concatenate([start, steps], axis=2), axis=2)[:, :, -1]
    return lanes


def _accumulate_rows(rows: F64) -> F64:
    """Sums over the first axis, one row at a time."""
    summed: F64 = np.add.accumulate(np.concatenate([np.zeros((1, rows.shape[1])), rows]), axis=0)[-1]
    return summed


def accumulate(values: F64, limbs: I64, units: I64) -> None:
    """See ``kernels.Kernels``."""
    mantissa, exponent = np.frexp(np.where(np.isfinite(values), values, 0.0))
    whole = np.ldexp(mantissa, 53).astype(np.int64)
    place = exponent.astype(np.int64) - 53 + units
    sign, whole = np.sign(whole), np.abs(whole)
    whole >>= np.clip(-place, 0, 63)  # whole units only: what falls off is zero
    place = np.maximum(place, 0)
    limb, offset = place >> 5, (place & 31).astype(np.uint64)
    digit, bits = np.uint64(0xFFFFFFFF), np.uint64(32)
    lower = (whole.astype(np.uint64) & digit) << offset
    upper = (whole.astype(np.uint64) >> bits) << offset
    index = np.broadcast_to(np.arange(values.shape[1]), values.shape)
    for step, part in enumerate((lower & digit, (lower >> bits) + (upper & digit), upper >> bits)):
        np.add.at(limbs, (index, np.where(whole > 0, limb + step, 0)), sign * part.astype(np.int64))
