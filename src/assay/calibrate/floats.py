"""Which arrays can be observed, and in which form the kernels take them."""

from __future__ import annotations

from typing import cast

import numpy as np
from numpy.typing import NDArray

from assay.core.tensor import Array

BFLOAT16 = "bfloat16"
"""An extension type of NumPy, which has no place among its floating-point types."""

F32 = NDArray[np.float32]
Halves = NDArray[np.uint16]
"""Bit patterns of bfloat16: the upper halves of the float32 patterns of the same numbers."""


def is_float(values: Array) -> bool:
    """Whether the elements are floating-point numbers, bfloat16 among them."""
    return values.dtype == np.float32 or np.issubdtype(values.dtype, np.floating) or values.dtype.name == BFLOAT16


def to_observed(values: Array) -> F32 | Halves:
    """An array for the kernels: C-contiguous, aligned, writable, bfloat16 as bit patterns and the rest as float32.

    The kernels write nothing, but would be compiled once more for arrays that may not be written.
    """
    if values.dtype == np.float32 and values.flags.carray:
        return cast("F32", values)
    if values.dtype.name == BFLOAT16:
        return np.require(values.view(np.uint16), np.uint16, ["C", "A", "W"])
    with np.errstate(over="ignore"):
        return np.require(values, np.float32, ["C", "A", "W"])


def to_float32(values: Array) -> F32:
    """As ``to_observed``, bfloat16 widened; what is too large for float32 becomes infinite."""
    return widen_halves(to_observed(values))


def widen_halves(values: F32 | Halves) -> F32:
    """The numbers of bit patterns, exactly; what is float32 stays as it is."""
    if values.dtype == np.float32:
        return cast("F32", values)
    patterns = values.astype(np.uint32)
    patterns <<= 16
    return patterns.view(np.float32)
