"""What calibration knows of a tensor, as numbers that do not depend on who observed them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class TensorRange:
    """Clipping range of an activation; ``low <= 0 <= high`` so that zero is exactly representable."""

    low: float
    high: float


@dataclass(frozen=True, slots=True)
class TensorStatistics:
    """Statistics of all observed values of one tensor. Two of them merge without loss.

    Attributes:
        histogram: ``[65536] int64``, counts over the upper 16 bits of the float32 pattern (no range needed
            beforehand; a bin is 1/128 of a binade wide).
        low: exact minimum of the finite values.
        high: exact maximum of the finite values.
        count: number of finite values.
        total: sum of the finite values, float64.
        total_squares: sum of their squares, float64.
        zeros: number of exact zeros.
        nonfinite: number of NaN and infinite values.
    """

    histogram: NDArray[np.int64]
    low: float
    high: float
    count: int
    total: float
    total_squares: float
    zeros: int
    nonfinite: int

    @property
    def largest(self) -> float:
        """Largest finite magnitude seen."""
        return max(abs(self.low), abs(self.high)) if self.count else 0.0


@dataclass(frozen=True, slots=True)
class Calibration:
    """Per-tensor statistics of one model over one data set.

    Attributes:
        tensors: tensor name -> statistics.
        data: fingerprint of the data that gave them.
        items: number of items observed.
    """

    tensors: Mapping[str, TensorStatistics]
    data: str
    items: int
