"""Ranges of activations in 8-bit floats (e4m3), whose steps grow with the magnitude.

A range says which magnitude reaches the largest code. Within a factor of thousands it hardly matters: the same three
fraction bits are kept, and only where the steps lie moves with it. So MIN_MAX loses little, and MSE mostly looks for
steps that suit the values; clips are tried too, under the same bound on what clipped values lose as those of integers.
Source: Micikevicius et al. 2022, "FP8 formats for deep learning", sections 3 and 4.
"""

from __future__ import annotations

from collections.abc import Callable

import ml_dtypes
import numpy as np

from assay.calibrate.ranges.distribution import Distribution, Floats
from assay.calibrate.ranges.squared_error import TAIL_LOSS
from assay.core.calibration import Calibration, TensorRange, TensorStatistics
from assay.core.errors import DataError
from assay.core.plan import FloatScheme
from assay.core.precision import Precision, RangeMethod

LARGEST = Precision.FP8.largest
STRETCHES = 2.0 ** (np.arange(7, -25, -1) / 8)
"""Limits that are tried, as shares of the largest magnitude, down to an eighth; those above 1 clip nothing."""
LEAST_SHARE = 2.0**-20
"""Share of the largest magnitude below which values cost the same under all limits that are tried: they round to 0,
or their steps are far below the others' errors."""
PARTS = 2
"""Points at which each bin of the histogram is rounded; a bin is at most an eighth of a step of e4m3 wide."""


def solve_float_range(statistics: TensorStatistics, method: RangeMethod) -> TensorRange:
    """Range of one tensor, its limits opposite; the largest magnitude may lie inside it.

    Args:
        statistics: of its values.
        method: MIN_MAX or MSE.

    Raises:
        DataError: the tensor was never observed, or the method is for integers alone.
    """
    if not statistics.count:
        raise DataError("a tensor without a finite value has no range", "calibrate with more data")
    if method not in SOLVERS:
        known = " or ".join(sorted(SOLVERS))
        raise DataError(f"ranges of 8-bit floats are solved by {known}, not by {method}", f"name {known}")
    limit = SOLVERS[method](statistics)
    return TensorRange(0.0 - limit, limit)


def solve_float_ranges(calibration: Calibration, scheme: FloatScheme) -> dict[str, TensorRange]:
    """Range of every calibrated tensor with a finite value, by name."""
    return {
        name: solve_float_range(statistics, scheme.ranges)
        for name, statistics in calibration.tensors.items()
        if statistics.count
    }


def _find_largest(statistics: TensorStatistics) -> float:
    """The largest magnitude."""
    return statistics.largest


def _search_limit(statistics: TensorStatistics) -> float:
    """The limit of least squared error among those that cut no value badly, from the histogram."""
    largest = statistics.largest
    values, weights = _list_values(Distribution.of_magnitudes(statistics))
    if not values.size:
        return largest
    values = values / largest
    near = values >= LEAST_SHARE
    values, weights = values[near], weights[near]
    errors = [_measure_error(values, weights, stretch) for stretch in STRETCHES]
    return float(largest * STRETCHES[int(np.argmin(errors))])


def _list_values(magnitudes: Distribution) -> tuple[Floats, Floats]:
    """Evenly spaced points of every bin, and the number of values that each stands for."""
    lower, upper = magnitudes.points[0::2], magnitudes.points[1::2]
    counts = magnitudes.cumulative[1::2] - magnitudes.cumulative[0::2]
    shares = (np.arange(PARTS) + 0.5) / PARTS
    values = lower[:, None] + (upper - lower)[:, None] * shares
    return values.reshape(-1), np.repeat(counts / PARTS, PARTS)


def _measure_error(values: Floats, weights: Floats, limit: float) -> float:
    """Sum of squared errors of rounding magnitudes under a limit; infinite where clipped ones lose too much."""
    codes = np.minimum(values * (LARGEST / limit), LARGEST).astype(ml_dtypes.float8_e4m3fn)
    squares = weights * np.square(values - codes.astype(np.float64) * (limit / LARGEST))
    cut = values > limit
    if squares[cut].sum() > TAIL_LOSS * (weights[cut] * np.square(values[cut])).sum():
        return np.inf
    return float(squares.sum())


SOLVERS: dict[RangeMethod, Callable[[TensorStatistics], float]] = {
    RangeMethod.MIN_MAX: _find_largest,
    RangeMethod.MSE: _search_limit,
}
"""Range methods that go by a magnitude, or by the steps of e4m3."""
