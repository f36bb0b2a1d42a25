"""The range that a given percentage of the values lies in."""

from __future__ import annotations

from assay.calibrate.ranges.problem import RangeProblem
from assay.core.calibration import TensorRange

PERCENTILE = 99.99
EVERYTHING = 100.0


def solve_percentile(problem: RangeProblem, percentile: float = PERCENTILE) -> TensorRange:
    """Limits that ``percentile`` percent of the values other than zero lie between; never narrower for a larger one.

    An asymmetric range leaves half of the rest out at each end, a symmetric one leaves the largest magnitudes out.
    Exact to the bin of the histogram, and linear inside it.

    Args:
        problem: the tensor.
        percentile: in ``(0, 100]``.
    """
    if problem.blank or percentile >= EVERYTHING:
        return problem.widest
    if problem.symmetric:
        limit = problem.magnitudes.find_quantile(percentile / 100)
        return problem.limit(-limit, limit)
    rest = (1 - percentile / 100) / 2
    return problem.limit(problem.distribution.find_quantile(rest), problem.distribution.find_quantile(1 - rest))
