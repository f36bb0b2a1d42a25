"""The histogram of a tensor as a piecewise uniform distribution of its values other than zero.

Zeros are exact under every range, so no solver counts them: otherwise what a percentage means would depend on how many
values a ReLU sets to zero.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

from assay.calibrate.statistics import INFINITY_BIN, SIGN_BIN
from assay.core.calibration import TensorStatistics

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]

LARGEST = float(np.finfo(np.float32).max)
POINT = 1e-6
"""Relative width given to a bin that holds one value only, such as the upper limit of a clipped activation."""


@dataclass(frozen=True, slots=True)
class Distribution:
    """Number of values up to each point of the number line, linear between the points.

    Values below ``2**-133`` in magnitude share their bin with zero, and are taken for zeros.

    Attributes:
        points: ``[2 B] float64``, lower and upper edge of each bin in turn, rising; empty where all values are zero.
        cumulative: ``[2 B] float64``, values up to each point.
    """

    points: Floats
    cumulative: Floats

    @classmethod
    def of(cls, statistics: TensorStatistics) -> Self:
        """The distribution of the finite values."""
        filled = np.flatnonzero(statistics.histogram)
        negative = filled[(filled > SIGN_BIN) & (filled < SIGN_BIN + INFINITY_BIN)][::-1]
        positive = filled[(filled > 0) & (filled < INFINITY_BIN)]
        lower = np.concatenate([-find_edges(negative - SIGN_BIN + 1), find_edges(positive)])
        upper = np.concatenate([-find_edges(negative - SIGN_BIN), find_edges(positive + 1)])
        counts = statistics.histogram[np.concatenate([negative, positive])]
        return cls._build(lower, upper, counts, (statistics.low, statistics.high))

    @classmethod
    def of_magnitudes(cls, statistics: TensorStatistics) -> Self:
        """The distribution of the magnitudes of the finite values."""
        counts = statistics.histogram[:INFINITY_BIN] + statistics.histogram[SIGN_BIN : SIGN_BIN + INFINITY_BIN]
        filled = np.flatnonzero(counts[1:]) + 1
        one_sided = statistics.low > 0 or statistics.high < 0
        least = min(abs(statistics.low), abs(statistics.high)) if one_sided else 0.0
        return cls._build(find_edges(filled), find_edges(filled + 1), counts[filled], (least, statistics.largest))

    @classmethod
    def _build(cls, lower: Floats, upper: Floats, counts: Integers, extremes: tuple[float, float]) -> Self:
        """From bins in rising order, cut at the exact extremes."""
        if not counts.size:
            return cls(np.zeros(0), np.zeros(0))
        points = np.clip(np.stack([lower, upper], axis=1), *extremes)
        # Only the outermost bins are cut, so a thin one is widened outwards, and a lone one away from zero.
        first, last = points[0], points[-1]
        if len(counts) > 1 or last[1] < 0:
            first[0] = min(first[0], first[1] - POINT * abs(first[1]))
        if len(counts) > 1 or last[1] > 0:
            last[1] = max(last[1], last[0] + POINT * abs(last[0]))
        cumulative = np.zeros((len(counts), 2))
        cumulative[:, 1] = np.cumsum(counts)
        cumulative[1:, 0] = cumulative[:-1, 1]
        return cls(points.reshape(-1), cumulative.reshape(-1))

    @property
    def count(self) -> float:
        """Number of values."""
        return float(self.cumulative[-1]) if self.cumulative.size else 0.0

    def find_quantile(self, share: float) -> float:
        """The least value that ``share`` of all values do not exceed; rises with the share. Needs at least one value.

        It lies in the bin of the value that the sorted samples have there.
        """
        rank = min(share * self.count, self.count)
        point = int(np.searchsorted(self.cumulative, rank))
        if point == 0:
            return float(self.points[0])
        below, reached = self.cumulative[point - 1 : point + 1]
        start, end = self.points[point - 1 : point + 1]
        return float(start + (end - start) * (rank - below) / (reached - below))

    def count_up_to(self, values: Floats) -> Floats:
        """Number of values up to each of ``values``, of their shape. Needs at least one value."""
        counts: Floats = np.interp(values, self.points, self.cumulative)
        return counts


def find_edges(magnitude: Integers) -> Floats:
    """Smallest magnitudes of the bins of these numbers, without sign; infinite for the one of Inf and NaN."""
    return (magnitude << 16).astype(np.uint32).view(np.float32).astype(np.float64)


def find_bin(magnitude: float) -> int:
    """Number of the bin of a magnitude, without sign; the last finite one from the largest float32 on."""
    return int(np.float32(min(magnitude, LARGEST)).view(np.uint32)) >> 16
