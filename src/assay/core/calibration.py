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


GROUPS = 16
"""Groups into which items are sorted by a hash of their content, so that intervals count items, not values."""
COARSE_BINS = 4096


@dataclass(frozen=True, slots=True)
class ChannelStatistics:
    """Statistics of every channel of one tensor, of its finite values.

    Attributes:
        axis: of the channels, counted from the front (>= 0) or from the end (< 0).
        low: ``[C] float64``, exact minimum of each channel; 0 where it has no finite value.
        high: ``[C] float64``, exact maximum.
        total: ``[C] float64``, sum.
        total_squares: ``[C] float64``, sum of squares.
        count: ``[C] int64``, finite values.
        sums: ``[2, C, L] uint32``, total and total_squares without rounding, or None where only the floats are known:
            digits of base 2^32, the least first, of two's complements in units of 2^-149 and of 2^-298.
    """

    axis: int
    low: NDArray[np.float64]
    high: NDArray[np.float64]
    total: NDArray[np.float64]
    total_squares: NDArray[np.float64]
    count: NDArray[np.int64]
    sums: NDArray[np.uint32] | None = None


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
        items: items that gave the next two sums; 0 where the first axis of the tensor is not the item.
        total_low: sum over items of each item's minimum, float64.
        total_high: sum over items of each item's maximum, float64.
        groups: ``[GROUPS, COARSE_BINS] int64``, histograms over the upper 12 bits, one for each group of items (an
            item's group is a hash of its content), or None where they were not kept.
        channels: statistics of every channel, or None where they were not asked for.
        sums: total, total_squares, total_low and total_high without rounding, in units of 2^-149 (total_squares in
            2^-298), or None where only the floats are known. Sums of items are added exactly, so that no order and
            no grouping of shards changes a bit.
    """

    histogram: NDArray[np.int64]
    low: float
    high: float
    count: int
    total: float
    total_squares: float
    zeros: int
    nonfinite: int
    items: int = 0
    total_low: float = 0.0
    total_high: float = 0.0
    groups: NDArray[np.int64] | None = None
    channels: ChannelStatistics | None = None
    sums: tuple[int, int, int, int] | None = None

    @property
    def largest(self) -> float:
        """Largest finite magnitude seen."""
        return max(abs(self.low), abs(self.high)) if self.count else 0.0


@dataclass(frozen=True, slots=True)
class ItemSketch:
    """A sample of the observed items that merges in any order: the distinct items of least content hash.

    Attributes:
        hashes: ``[K] uint64``, content hashes, rising and distinct; all items where there are at most the limit.
        repeats: ``[K] int64``, how often each was observed.
        positions: ``[K] int64``, index of the item in the data set that it was first observed in.
        names: what each feature is, such as ``conv1:mean`` or ``input:mean[2]``.
        features: ``[K, F] float32``.
    """

    hashes: NDArray[np.uint64]
    repeats: NDArray[np.int64]
    positions: NDArray[np.int64]
    names: tuple[str, ...]
    features: NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Calibration:
    """Per-tensor statistics of one model over one data set.

    Attributes:
        tensors: tensor name -> statistics.
        data: fingerprint of the data that gave them.
        items: number of items observed.
        sketch: features of single items, or None where they were not kept.
    """

    tensors: Mapping[str, TensorStatistics]
    data: str
    items: int
    sketch: ItemSketch | None = None
