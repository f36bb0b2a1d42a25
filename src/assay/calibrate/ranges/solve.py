"""The table of range solvers, and one call for all tensors of a scheme."""

from __future__ import annotations

from collections.abc import Callable

from assay.calibrate.ranges.min_max import solve_min_max
from assay.calibrate.ranges.squared_error import solve_squared_error
from assay.core.calibration import Calibration, TensorRange, TensorStatistics
from assay.core.errors import DataError
from assay.core.plan import Scheme
from assay.core.precision import IntegerFormat, RangeMethod

Solver = Callable[[TensorStatistics, IntegerFormat, bool], TensorRange]

SOLVERS: dict[RangeMethod, Solver] = {
    RangeMethod.MIN_MAX: solve_min_max,
    RangeMethod.MSE: solve_squared_error,
}


def solve_range(
    statistics: TensorStatistics,
    method: RangeMethod,
    activation: IntegerFormat,
    symmetric: bool,  # noqa: FBT001 the dialect's own field; every call names it
) -> TensorRange:
    """Clipping range of one tensor; zero lies inside it, and the limits of a symmetric one are opposite.

    Raises:
        DataError: the tensor was never observed.
    """
    if not statistics.count:
        raise DataError("a tensor without a finite value has no range", "calibrate with more data")
    return SOLVERS[method](statistics, activation, symmetric)


def solve_ranges(calibration: Calibration, scheme: Scheme) -> dict[str, TensorRange]:
    """Clipping range of every calibrated tensor with a finite value, by name."""
    dialect = scheme.dialect
    return {
        name: solve_range(statistics, scheme.ranges, dialect.activation, symmetric=dialect.symmetric)
        for name, statistics in calibration.tensors.items()
        if statistics.count
    }
