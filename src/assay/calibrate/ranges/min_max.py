"""The range that holds every value seen."""

from __future__ import annotations

from assay.core.calibration import TensorRange, TensorStatistics
from assay.core.precision import IntegerFormat


def solve_min_max(
    statistics: TensorStatistics,
    activation: IntegerFormat,  # noqa: ARG001 the range does not depend on the codes
    symmetric: bool,  # noqa: FBT001 signature of every solver
) -> TensorRange:
    """From the exact minimum to the exact maximum, widened to hold zero."""
    if symmetric:
        return TensorRange(0.0 - statistics.largest, statistics.largest)  # a plain minus would give -0.0 for zero
    return TensorRange(min(statistics.low, 0.0), max(statistics.high, 0.0))
