"""The table of range solvers, and one call for all tensors of a scheme."""

from __future__ import annotations

from collections.abc import Callable

from assay.calibrate.ranges.best import solve_best
from assay.calibrate.ranges.entropy import solve_entropy
from assay.calibrate.ranges.min_max import solve_min_max
from assay.calibrate.ranges.moving_average import solve_moving_average
from assay.calibrate.ranges.percentile import solve_percentile
from assay.calibrate.ranges.problem import RangeProblem
from assay.calibrate.ranges.squared_error import solve_squared_error, solve_weighted_error
from assay.core.calibration import Calibration, TensorRange, TensorStatistics
from assay.core.errors import DataError
from assay.core.plan import Scheme
from assay.core.precision import IntegerFormat, RangeMethod

Solver = Callable[[RangeProblem], TensorRange]

SOLVERS: dict[RangeMethod, Solver] = {
    RangeMethod.MIN_MAX: solve_min_max,
    RangeMethod.MSE: solve_squared_error,
    RangeMethod.WEIGHTED_MSE: solve_weighted_error,
    RangeMethod.PERCENTILE: solve_percentile,
    RangeMethod.MOVING_AVERAGE: solve_moving_average,
    RangeMethod.ENTROPY: solve_entropy,
    RangeMethod.BEST: solve_best,
}


def solve_range(
    statistics: TensorStatistics,
    method: RangeMethod,
    activation: IntegerFormat,  # noqa: ARG001 part of the dialect; both formats have 256 codes, so no range depends on it
    symmetric: bool,  # noqa: FBT001 the dialect's own field; every call names it
) -> TensorRange:
    """Clipping range of one tensor; zero lies inside it, and the limits of a symmetric one are opposite.

    Raises:
        DataError: the tensor was never observed.
    """
    if not statistics.count:
        raise DataError("a tensor without a finite value has no range", "calibrate with more data")
    return SOLVERS[method](RangeProblem(statistics, symmetric=symmetric))


def solve_ranges(calibration: Calibration, scheme: Scheme) -> dict[str, TensorRange]:
    """Clipping range of every calibrated tensor with a finite value, by name."""
    dialect = scheme.dialect
    return {
        name: solve_range(statistics, scheme.ranges, dialect.activation, symmetric=dialect.symmetric)
        for name, statistics in calibration.tensors.items()
        if statistics.count
    }
