"""The range that holds every value seen."""

from __future__ import annotations

from assay.calibrate.ranges.problem import RangeProblem
from assay.core.calibration import TensorRange


def solve_min_max(problem: RangeProblem) -> TensorRange:
    """From the exact minimum to the exact maximum, widened to hold zero."""
    return problem.widest
