"""The hot loops of observation, compiled; ``kernels_numpy`` says the same in NumPy and must give the same bits.

Imported only when something is observed, since Numba takes its time to import. The compiled form is kept beside this
file or, where that folder cannot be written, in the user's cache.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar, cast

import numba
import numba.extending
import numpy as np
from numpy.typing import NDArray

from assay.calibrate.floats import F32, Halves
from assay.calibrate.layout import (
    BLOCK,
    INFINITY,
    LANES,
    MAGNITUDE,
    MOST_COUNTED,
    ROW_LANES,
    SIGN_BIN,
    SMALL,
    STRIDE,
    TABLES,
)

F64 = NDArray[np.float64]
I32 = NDArray[np.int32]
I64 = NDArray[np.int64]
U32 = NDArray[np.uint32]
Function = TypeVar("Function", bound=Callable[..., object])

ONE = np.uint32(1)
SHIFT = np.uint32(16)
SIGN_SHIFT = np.int32(31)
NOT_SIGN = np.int32(MAGNITUDE)
LOWEST = np.int32(-(2**31))
HIGHEST = np.int32(2**31 - 1)
EXPONENT = np.uint32(INFINITY)
MASK = np.uint32(MAGNITUDE)
ALL_ONES = np.uint32(0xFFFFFFFF)
DIGIT = np.uint64(0xFFFFFFFF)
DIGIT_BITS = np.uint64(32)
NO_NUMBER = 0x7FF
"""Exponent field of infinity in a float64."""


def compile_kernel(function: Function) -> Function:
    """Compile for the argument types of the first call; without the GIL, strict about the order of additions."""
    try:
        return cast("Function", numba.njit(nogil=True, cache=True)(function))
    except RuntimeError:  # neither the package's folder nor the user's cache can be written
        return cast("Function", numba.njit(nogil=True)(function))


def _widen(values: Halves, wide: F32) -> F32:
    """The numbers of bit patterns, written to the start of ``wide``."""
    patterns = wide.view(np.uint32)
    for index in range(values.size):
        patterns[index] = np.uint32(values[index]) << SHIFT
    return wide[: values.size]


def _keep(values: F32, wide: F32) -> F32:  # noqa: ARG001 - the twin of _widen
    """What is float32 stays where it is."""
    return values


@numba.extending.overload(_widen, strict=False)  # type: ignore[untyped-decorator]  # Numba has no types
def _choose_widening(values: Any, wide: Any) -> Callable[..., F32]:  # noqa: ANN401, ARG001 - the vendor's types
    """What ``_widen`` is compiled to, by the type of the elements."""
    return _keep if values.dtype == numba.types.float32 else _widen


@compile_kernel
def _scan(bits: U32) -> tuple[np.int32, np.int32, np.uint32, np.uint32, int]:
    """Least and greatest key, least (less one) and greatest magnitude, and zeros of a block.

    A key is the bit pattern as an integer that sorts like the number, so that all of this is integer arithmetic,
    which compiles to vector instructions and does not depend on an order.
    """
    low, high = HIGHEST, LOWEST
    least, most = ALL_ONES, np.uint32(0)
    zeros = np.int32(0)
    for index in range(bits.size):
        pattern = bits[index]
        signed = np.int32(pattern)
        key = np.int32(signed ^ ((signed >> SIGN_SHIFT) & NOT_SIGN))
        low = min(low, key)
        high = max(high, key)
        magnitude = np.uint32(pattern & MASK)
        most = max(most, magnitude)
        least = min(least, np.uint32(magnitude - ONE))  # zero becomes the largest
        zeros += np.int32(magnitude == 0)
    return low, high, least, most, int(zeros)


@compile_kernel
def _scan_finite(values: F32, bits: U32, clean: F32) -> tuple[np.int32, np.int32, int]:
    """Least and greatest key of the finite values, how many are not, and the values with those replaced by zero."""
    low, high = HIGHEST, LOWEST
    nonfinite = 0
    for index in range(bits.size):
        pattern = bits[index]
        if (pattern & EXPONENT) == EXPONENT:
            nonfinite += 1
            clean[index] = np.float32(0)
            continue
        signed = np.int32(pattern)
        key = np.int32(signed ^ ((signed >> SIGN_SHIFT) & NOT_SIGN))
        low = min(low, key)
        high = max(high, key)
        clean[index] = values[index]
    return low, high, nonfinite


@compile_kernel
def _count(bits: U32, tables: U32) -> None:
    """Count the upper halves in four tables in turn, so that equal neighbours do not wait for each other's store."""
    whole = bits.size // TABLES * TABLES
    for index in range(0, whole, TABLES):
        tables[0, bits[index] >> SHIFT] += ONE
        tables[1, bits[index + 1] >> SHIFT] += ONE
        tables[2, bits[index + 2] >> SHIFT] += ONE
        tables[3, bits[index + 3] >> SHIFT] += ONE
    for index in range(whole, bits.size):
        tables[0, bits[index] >> SHIFT] += ONE


@compile_kernel
def _count_few(bits: U32, histogram: I64, coarse: I64, group: int) -> None:
    """Count the upper halves straight into the histograms."""
    for index in range(bits.size):
        fine = np.int64(bits[index] >> SHIFT)
        histogram[fine] += 1
        coarse[fine >> 4, group] += 1


@compile_kernel
def _empty_tables(tables: U32, first: int, last: int, histogram: I64, coarse: I64, group: int) -> None:
    """Move the counts of a range of bins into the histograms, and leave the tables at zero."""
    for index in range(first, last + 1):
        count = tables[0, index] + tables[1, index] + tables[2, index] + tables[3, index]
        if count:
            histogram[index] += np.int64(count)
            coarse[index >> 4, group] += np.int64(count)
            for table in range(TABLES):
                tables[table, index] = 0


@compile_kernel
def _empty_all(
    tables: U32, least: np.uint32, most: np.uint32, low: np.int32, histogram: I64, coarse: I64, group: int
) -> None:
    """Empty the tables where zero and values of these magnitudes were counted; none was negative if ``low`` is not."""
    first, last = int(np.int64(np.uint32(least + ONE) >> SHIFT)), int(np.int64(most >> SHIFT))
    _empty_tables(tables, 0, 0, histogram, coarse, group)
    _empty_tables(tables, first, last, histogram, coarse, group)
    if low < 0:
        _empty_tables(tables, SIGN_BIN, SIGN_BIN, histogram, coarse, group)
        _empty_tables(tables, SIGN_BIN + first, SIGN_BIN + last, histogram, coarse, group)


@compile_kernel
def _add_lanes(values: F32, lanes: F64, squares: F64) -> None:
    """Add whole strides of values to the lanes, four rows of lanes at a time."""
    for begin in range(0, values.size, STRIDE):
        row0 = values[begin : begin + LANES]
        row1 = values[begin + LANES : begin + 2 * LANES]
        row2 = values[begin + 2 * LANES : begin + 3 * LANES]
        row3 = values[begin + 3 * LANES : begin + 4 * LANES]
        for lane in range(LANES):
            a, b = np.float64(row0[lane]), np.float64(row1[lane])
            c, d = np.float64(row2[lane]), np.float64(row3[lane])
            lanes[lane] += (a + b) + (c + d)
            squares[lane] += (a * a + b * b) + (c * c + d * d)


@compile_kernel
def _add_block(values: F32, lanes: F64, squares: F64, padded: F32) -> None:
    """Add a block to the lanes as if zeros followed it up to a whole stride."""
    whole = values.size // STRIDE * STRIDE
    _add_lanes(values[:whole], lanes, squares)
    rest = values.size - whole
    if rest:
        padded[:rest] = values[whole:]
        padded[rest:STRIDE] = 0
        _add_lanes(padded[:STRIDE], lanes, squares)


@compile_kernel
def _fold(lanes: F64) -> float:
    """Sum of the lanes, by halves."""
    width = lanes.size // 2
    while width:
        for lane in range(width):
            lanes[lane] += lanes[lane + width]
        width //= 2
    return float(lanes[0])


@compile_kernel
def _write_extremes(low: np.int32, high: np.int32, keys: I32, numbers: F64) -> None:
    """The values of two keys; plus and minus infinity where there was no value; -0.0 becomes 0.0."""
    if low > high:
        numbers[2], numbers[3] = np.inf, -np.inf
        return
    keys[0] = low ^ ((low >> SIGN_SHIFT) & NOT_SIGN)
    keys[1] = high ^ ((high >> SIGN_SHIFT) & NOT_SIGN)
    values = keys.view(np.float32)
    numbers[2], numbers[3] = np.float64(values[0]) + 0.0, np.float64(values[1]) + 0.0


@compile_kernel
def observe_items(
    values: F32 | Halves, groups: I64, histogram: I64, coarse: I64, tables: U32, counts: I64, numbers: F64
) -> None:
    """See ``kernels.Kernels``."""
    lanes, squares, keys = np.empty(LANES), np.empty(LANES), np.empty(2, np.int32)
    wide, clean, padded = np.empty(BLOCK, np.float32), np.empty(BLOCK, np.float32), np.empty(STRIDE, np.float32)
    for item in range(values.shape[0]):
        row, group = values[item], groups[item]
        lanes[:] = 0
        squares[:] = 0
        low, high = HIGHEST, LOWEST
        least, most = ALL_ONES, np.uint32(0)
        zeros, nonfinite, counted, lowest = 0, 0, 0, HIGHEST
        for begin in range(0, row.size, BLOCK):
            block = _widen(row[begin : begin + BLOCK], wide)
            pattern = block.view(np.uint32)
            lower, upper, smallest, largest, none = _scan(pattern)
            lowest, least, most = min(lowest, lower), min(least, smallest), max(most, largest)
            zeros += none
            if row.size < SMALL:
                _count_few(pattern, histogram, coarse, group)
            else:
                if counted + block.size > MOST_COUNTED:
                    _empty_all(tables, least, most, lowest, histogram, coarse, group)
                    counted = 0
                _count(pattern, tables)
                counted += block.size
            if largest >= EXPONENT:
                lower, upper, unfit = _scan_finite(block, pattern, clean)
                nonfinite += unfit
                _add_block(clean[: block.size], lanes, squares, padded)
            else:
                _add_block(block, lanes, squares, padded)
            low, high = min(low, lower), max(high, upper)
        if counted:
            _empty_all(tables, least, most, lowest, histogram, coarse, group)
        counts[item, 0], counts[item, 1] = nonfinite, zeros
        numbers[item, 0], numbers[item, 1] = _fold(lanes), _fold(squares)
        _write_extremes(low, high, keys, numbers[item])


@compile_kernel
def _add_row(values: F32, lanes: F64, squares: F64) -> None:
    """Sums of one row and of its squares, into the first lane of each."""
    lanes[:] = 0
    squares[:] = 0
    a0 = a1 = a2 = a3 = a4 = a5 = a6 = a7 = 0.0
    s0 = s1 = s2 = s3 = s4 = s5 = s6 = s7 = 0.0
    whole = values.size // ROW_LANES * ROW_LANES
    for begin in range(0, whole, ROW_LANES):
        v0, v1 = np.float64(values[begin]), np.float64(values[begin + 1])
        v2, v3 = np.float64(values[begin + 2]), np.float64(values[begin + 3])
        v4, v5 = np.float64(values[begin + 4]), np.float64(values[begin + 5])
        v6, v7 = np.float64(values[begin + 6]), np.float64(values[begin + 7])
        a0, a1, a2, a3, a4, a5, a6, a7 = a0 + v0, a1 + v1, a2 + v2, a3 + v3, a4 + v4, a5 + v5, a6 + v6, a7 + v7
        s0, s1, s2, s3 = s0 + v0 * v0, s1 + v1 * v1, s2 + v2 * v2, s3 + v3 * v3
        s4, s5, s6, s7 = s4 + v4 * v4, s5 + v5 * v5, s6 + v6 * v6, s7 + v7 * v7
    lanes[0], lanes[1], lanes[2], lanes[3], lanes[4], lanes[5], lanes[6], lanes[7] = a0, a1, a2, a3, a4, a5, a6, a7
    squares[0], squares[1], squares[2], squares[3] = s0, s1, s2, s3
    squares[4], squares[5], squares[6], squares[7] = s4, s5, s6, s7
    for index in range(whole, values.size):
        value = np.float64(values[index])
        lanes[index - whole] += value
        squares[index - whole] += value * value
    _fold(lanes)
    _fold(squares)


@compile_kernel
def _observe_columns(values: F32, low: I32, high: I32, count: I64, total: F64, squares: F64) -> None:
    """One row of channels that lie side by side."""
    bits = values.view(np.uint32)
    for channel in range(values.size):
        pattern = bits[channel]
        finite = (pattern & EXPONENT) != EXPONENT
        signed = np.int32(pattern)
        key = np.int32(signed ^ ((signed >> SIGN_SHIFT) & NOT_SIGN))
        low[channel] = min(low[channel], key) if finite else low[channel]
        high[channel] = max(high[channel], key) if finite else high[channel]
        count[channel] += np.int64(finite)
        value = np.float64(values[channel]) if finite else 0.0
        total[channel] += value
        squares[channel] += value * value


@compile_kernel
def observe_channels(values: F32 | Halves, low: I32, high: I32, count: I64, sums: F64) -> None:
    """See ``kernels.Kernels``."""
    items, outer, channels, inner = values.shape
    lanes, squares = np.empty(ROW_LANES), np.empty(ROW_LANES)
    wide, clean = np.empty(channels if inner == 1 else inner, np.float32), np.empty(inner, np.float32)
    for item in range(items):
        sums[item] = 0
        for row in range(outer):
            if inner == 1:
                columns = _widen(values[item, row].reshape(channels), wide)
                _observe_columns(columns, low, high, count, sums[item, 0], sums[item, 1])
                continue
            for channel in range(channels):
                part = _widen(values[item, row, channel], wide)
                bits = part.view(np.uint32)
                lower, upper, _, most, _ = _scan(bits)
                unfit = 0
                if most >= EXPONENT:
                    lower, upper, unfit = _scan_finite(part, bits, clean)
                    _add_row(clean, lanes, squares)
                else:
                    _add_row(part, lanes, squares)
                low[channel], high[channel] = min(low[channel], lower), max(high[channel], upper)
                count[channel] += inner - unfit
                sums[item, 0, channel] += lanes[0]
                sums[item, 1, channel] += squares[0]


@compile_kernel
def accumulate(values: F64, limbs: I64, units: I64) -> None:
    """See ``kernels.Kernels``."""
    for row in range(values.shape[0]):
        patterns = values[row].view(np.uint64)
        for index in range(values.shape[1]):
            pattern = patterns[index]
            field = int(np.int64((pattern >> np.uint64(52)) & np.uint64(0x7FF)))
            mantissa = pattern & np.uint64(0xFFFFFFFFFFFFF)
            if field:
                mantissa |= np.uint64(1) << np.uint64(52)
            if field == NO_NUMBER or not mantissa:
                continue
            place = max(field, 1) - 1075 + units[index]
            if place < 0:
                mantissa >>= np.uint64(-place)  # whole units only: what falls off is zero
                place = 0
            limb, offset = place >> 5, np.uint64(place & 31)
            lower = (mantissa & DIGIT) << offset
            upper = (mantissa >> DIGIT_BITS) << offset
            sign = np.int64(-1) if pattern >> np.uint64(63) else np.int64(1)
            limbs[index, limb] += sign * np.int64(lower & DIGIT)
            limbs[index, limb + 1] += sign * np.int64((lower >> DIGIT_BITS) + (upper & DIGIT))
            limbs[index, limb + 2] += sign * np.int64(upper >> DIGIT_BITS)
