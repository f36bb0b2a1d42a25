"""What the limits and steps of an encoding do to the values of one tensor, from its histogram."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from assay.calibrate.ranges.distribution import Distribution
from assay.core.calibration import TensorStatistics
from assay.core.errors import MeasurementError

MIDDLE = 12.0
"""Rounding to a step ``d`` has an error of power ``d**2 / 12`` (Widrow and Kollar 2008, chapter 4)."""


@dataclass(frozen=True, slots=True)
class Clipping:
    """What an encoding costs a tensor.

    Attributes:
        rate: share of the values other than zero that lie over half a step outside the limits.
        clipping: power of what is cut off, relative to the tensor's.
        rounding: power of the rounding error of what is not, relative to the tensor's.
    """

    rate: float
    clipping: float
    rounding: float


def measure_clipping(statistics: TensorStatistics, low: float, high: float, step: float) -> Clipping:
    """Estimate the error of an encoding; values are taken for the middle of their bin, 1/128 of a binade wide.

    Args:
        statistics: of the tensor.
        low: smallest value that the encoding holds.
        high: largest.
        step: between neighbouring codes.

    Raises:
        MeasurementError: the tensor has no finite value.
    """
    if not statistics.count:
        raise MeasurementError("a tensor without a finite value has no clip rate")
    spread = Distribution.of(statistics)
    if not spread.points.size:
        return Clipping(0.0, 0.0, 0.0)
    counts = spread.cumulative[1::2] - spread.cumulative[::2]
    values = (spread.points[1::2] + spread.points[::2]) / 2
    excess = np.maximum(values - high, 0.0) + np.maximum(low - values, 0.0)
    inside = counts * (excess == 0)
    rounding = inside @ np.minimum(step**2 / MIDDLE, values**2)
    upper, lower = spread.count_up_to(np.array([high + step / 2, low - step / 2]))
    power = statistics.total_squares or 1.0
    return Clipping(
        rate=float(1 - (upper - lower) / spread.count),
        clipping=float(counts @ excess**2 / power),
        rounding=float(rounding / power),
    )
