"""The loops over every observed value: compiled where Numba can be imported, else in NumPy, with the same results."""

from __future__ import annotations

from functools import cache
from importlib import import_module
from typing import Protocol, cast

import numpy as np
from numpy.typing import NDArray

from assay.calibrate.floats import F32, Halves


class Kernels(Protocol):
    """What is computed of whole tensors. Both implementations give the same bits.

    Sums are float64 in an order that depends on the shape alone. Nothing here holds the interpreter's lock for long
    in the compiled form, and nothing is shared between calls but what is passed in.
    """

    def observe_items(
        self,
        values: F32 | Halves,
        groups: NDArray[np.int64],
        histogram: NDArray[np.int64],
        coarse: NDArray[np.int64],
        tables: NDArray[np.uint32],
        counts: NDArray[np.int64],
        numbers: NDArray[np.float64],
    ) -> None:
        """Count and sum every item.

        Args:
            values: ``[n, m]``, C-contiguous; bit patterns of bfloat16 count as the numbers that they stand for.
            groups: ``[n]``, column of ``coarse`` for each item.
            histogram: ``[65536]``, is added to: counts over the upper 16 bits.
            coarse: ``[4096, G]``, is added to: counts over the upper 12 bits.
            tables: ``[4, 65536]`` of zeros, to work in; zeros again afterwards.
            counts: ``[n, 2]``, is written: non-finite values, zeros.
            numbers: ``[n, 4]``, is written: sum of the finite values, of their squares, the least of them and the
                greatest (never -0.0; infinity and minus infinity where an item has none).
        """

    def observe_channels(
        self,
        values: F32 | Halves,
        low: NDArray[np.int32],
        high: NDArray[np.int32],
        count: NDArray[np.int64],
        sums: NDArray[np.float64],
    ) -> None:
        """The same per channel.

        Args:
            values: ``[n, outer, C, inner]``, C-contiguous; bit patterns as above.
            low: ``[C]``, is lowered to the least key of the finite values. A key is the bit pattern as an integer
                that sorts like the number.
            high: ``[C]``, is raised to the greatest.
            count: ``[C]``, is added to: finite values.
            sums: ``[n, 2, C]``, is written: sum of each item's finite values, and of their squares.
        """

    def accumulate(self, values: NDArray[np.float64], limbs: NDArray[np.int64], units: NDArray[np.int64]) -> None:
        """Add numbers to integers of base 2^32, exactly.

        Args:
            values: ``[n, K]``, whole multiples of ``2^-unit``, C-contiguous; what is infinite is left out.
            limbs: ``[K, L]``, is added to; digits may grow beyond 32 bits and below zero.
            units: ``[K]``, binary places of the integers.
        """


@cache
def load_kernels(*, compiled: bool = True) -> Kernels:
    """The compiled kernels where they can be had and are wanted, else those in NumPy."""
    if compiled:
        try:
            return cast("Kernels", import_module("assay.calibrate.kernels_numba"))
        except ImportError:  # no Numba for this interpreter or machine
            pass
    return cast("Kernels", import_module("assay.calibrate.kernels_numpy"))
