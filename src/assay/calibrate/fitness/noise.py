"""What a range costs the values of a set: rounding and clipping noise, clipped share, over all items and by group.

The set's histogram stands for its values, each bin a uniform density; the noise is then an exact integral. The fine
histogram gives the figure, the coarse ones of the groups of items its spread.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from assay.core.calibration import TensorRange, TensorStatistics
from assay.core.plan import IntegerDialect

POINT = 1e-6
"""Relative width given to a bin that holds one value only."""

STEPS = 255
POSITIVE_CODES = 127
PATTERN_BITS = 32
INFINITY_SHARE = 0x7F80 / 0x10000
"""Share of the bins that comes before that of +Inf."""

LARGEST_PATTERN = 0x7F7FFFFF
"""Of the largest finite float32."""


@dataclass(frozen=True, slots=True)
class Density:
    """Values of one tensor as uniform densities between the edges of bins.

    Attributes:
        edges: ``[2, B] float64``, smallest and largest value of each bin.
        counts: ``[G, B] float64``, values in each bin, by group.
    """

    edges: NDArray[np.float64]
    counts: NDArray[np.float64]

    @property
    def energy(self) -> NDArray[np.float64]:
        """``[G]`` sums of squares of the values."""
        low, high = self.edges
        return np.asarray(self.counts @ ((low * low + low * high + high * high) / 3), np.float64)

    def measure_noise(self, limits: TensorRange, dialect: IntegerDialect) -> NDArray[np.float64]:
        """``[G]`` sums of squared errors of quantizing under a range.

        The integral of ``(u - clip(round(u)))^2`` from 0 to t is ``k/12 + (t - k)^3 / 3`` with
        ``k = clip(round(t))``, for rounding and for clipping alike. An empty range makes every value zero.
        """
        scale, lowest, highest = find_grid(limits, dialect)
        if scale == 0:
            return self.energy
        steps = self.edges / scale
        codes = np.clip(np.rint(steps), lowest, highest)
        rest = steps - codes
        integral = codes / 12 + rest * rest * rest / 3
        error = (integral[1] - integral[0]) / (self.edges[1] - self.edges[0]) * scale**3
        return np.asarray(self.counts @ error, np.float64)

    def count_beyond(self, limits: TensorRange) -> NDArray[np.float64]:
        """``[G]`` numbers of values beyond a range."""
        low, high = self.edges
        width = high - low
        beyond = np.clip((limits.low - low) / width, 0, 1) + np.clip((high - limits.high) / width, 0, 1)
        return np.asarray(self.counts @ beyond, np.float64)


def find_grid(limits: TensorRange, dialect: IntegerDialect) -> tuple[float, int, int]:
    """Scale of a range, and its lowest and highest code relative to that of zero."""
    if dialect.symmetric:
        return max(-limits.low, limits.high) / POSITIVE_CODES, -POSITIVE_CODES - 1, POSITIVE_CODES
    scale = (limits.high - limits.low) / STEPS
    zero_point = round(-limits.low / scale) if scale else 0
    return scale, -zero_point, STEPS - zero_point


def describe_density(histogram: NDArray[np.int64], statistics: TensorStatistics) -> Density:
    """Densities of a ``[G, K]`` histogram over the upper bits of the float32 pattern, K a power of two.

    Edges are cut at the exact minimum and maximum of the tensor; zeros and non-finite values are left out.
    """
    size = histogram.shape[1]
    index = np.flatnonzero(histogram.any(axis=0))
    magnitude = index % (size // 2)
    index = index[(magnitude > 0) & (magnitude < INFINITY_SHARE * size)]
    edges = np.clip(read_edges(index, histogram.shape[1]), statistics.low, statistics.high)
    point = POINT * np.abs(edges[0])
    thin = edges[1] - edges[0] < point
    edges[0] -= thin * point / 2
    edges[1] += thin * point / 2
    return Density(edges, histogram[:, index].astype(np.float64))


def read_edges(index: NDArray[np.int64], size: int) -> NDArray[np.float64]:
    """``[2, B]`` smallest and largest value of the bins of a histogram that has ``size``, cut at 2^128."""
    shift = PATTERN_BITS - (size.bit_length() - 1)
    magnitude = index % (size // 2)
    inner, outer = _read_float(magnitude, shift), _read_float(magnitude + 1, shift)
    negative = index >= size // 2
    return np.stack([np.where(negative, -outer, inner), np.where(negative, -inner, outer)])


def _read_float(magnitude: NDArray[np.int64], shift: int) -> NDArray[np.float64]:
    """The float32 whose upper bits these are; 2^128 for infinity and NaN."""
    pattern = np.minimum(magnitude << shift, LARGEST_PATTERN).astype(np.uint32)
    values = pattern.view(np.float32).astype(np.float64)
    return np.where(pattern == LARGEST_PATTERN, 2.0**128, values)
