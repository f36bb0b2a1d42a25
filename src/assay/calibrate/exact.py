"""Sums without rounding: of float32 values and their squares, as integers.

Every float32 is a whole multiple of 2^-149, and so is every float64 sum of some; products of two are multiples of
2^-298. Integers add the same in any order, which no sum of floats does.
"""

from __future__ import annotations

from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from assay.calibrate.layout import LIMBS, UNIT

TOTAL_UNITS = (UNIT, 2 * UNIT, UNIT, UNIT)
"""Binary places of total, total_squares, total_low and total_high."""
CHANNEL_UNITS = (UNIT, 2 * UNIT)
MOST_SUMS = 1 << 28
"""Sums added to a digit before its carry is passed on: it has room for 2^30."""


def to_float(units: int, unit: int) -> float:
    """The nearest float64."""
    return units / (1 << unit)


def from_float(value: float, unit: int) -> int:
    """A number in units of ``2^-unit``, rounded where it is finer."""
    return round(Fraction(value) * (1 << unit))


def normalise_limbs(limbs: NDArray[np.int64]) -> NDArray[np.uint32]:
    """Digits ``[..., L]`` of base 2^32, of any size and sign, as those of the two's complement: one form a number."""
    digits = np.empty(limbs.shape, np.uint32)
    carry = np.zeros(limbs.shape[:-1], np.int64)
    for index in range(limbs.shape[-1]):
        carry = carry + limbs[..., index]
        digits[..., index] = carry & 0xFFFFFFFF
        carry >>= 32
    return digits


def widen(digits: NDArray[np.uint32]) -> NDArray[np.int64]:
    """Digits to calculate with: the greatest carries the sign."""
    limbs = digits.astype(np.int64)
    limbs[..., -1] = digits[..., -1].view(np.int32)
    return limbs


def read_limbs(digits: NDArray[np.uint32]) -> list[int]:
    """The integers of ``[K, L]`` two's complements."""
    return [int.from_bytes(row.tobytes(), "little", signed=True) for row in np.ascontiguousarray(digits, "<u4")]


def round_limbs(digits: NDArray[np.uint32], unit: int) -> NDArray[np.float64]:
    """The nearest float64 of every ``[K, L]`` two's complement in units of ``2^-unit``."""
    return np.array([to_float(units, unit) for units in read_limbs(digits)], np.float64)


def split_floats(values: NDArray[np.float64], unit: int) -> NDArray[np.uint32]:
    """Two's complements ``[K, L]`` of numbers, in units of ``2^-unit``."""
    parts = [from_float(float(value), unit).to_bytes(4 * LIMBS, "little", signed=True) for value in values]
    return np.frombuffer(b"".join(parts), "<u4").astype(np.uint32).reshape(len(values), LIMBS)
