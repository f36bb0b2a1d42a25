"""The best range of all methods, one tensor at a time.

Squared error alone would always name the range of least squares, and no single local measure is the network's own. So
several measures judge every candidate, each error is divided by the least that any candidate has by the same measure,
and the candidate whose worst such ratio is least wins (minimax regret, Savage 1951): whichever measure the network
has, this range is close to the best. The measures are the squared error, and the squared error in proportion to the
magnitude of the value that is hit.
"""

from __future__ import annotations

import numpy as np

from assay.calibrate.ranges.entropy import solve_entropy
from assay.calibrate.ranges.moving_average import solve_moving_average
from assay.calibrate.ranges.percentile import solve_percentile
from assay.calibrate.ranges.problem import RangeProblem
from assay.calibrate.ranges.squared_error import (
    TAIL_LOSS,
    solve_squared_error,
    solve_weighted_error,
)
from assay.core.calibration import TensorRange

RIVALS = (solve_weighted_error, solve_squared_error, solve_entropy, solve_percentile, solve_moving_average)
NOTHING = 1e-12
"""Share of a tensor's energy below which errors are taken for equal."""


def solve_best(problem: RangeProblem) -> TensorRange:
    """The candidate of least regret; its squared error never exceeds min-max's, and it cuts no value badly."""
    if problem.blank:
        return problem.widest
    candidates = [problem.widest, *(solve(problem) for solve in RIVALS)]
    encodings = [problem.encode(limits) for limits in candidates]
    scales = np.array([scale for scale, _ in encodings])
    lowest = np.array([[lowest] for _, lowest in encodings], np.float64)
    plain = problem.errors.measure_error(scales, lowest)[:, 0]
    weighted = problem.weighted_errors.measure_error(scales, lowest)[:, 0]
    allowed = (plain <= plain[0]) & (problem.errors.measure_tail_loss(scales, lowest)[:, 0] <= TAIL_LOSS)
    allowed[0] = True
    nothing = NOTHING * problem.statistics.largest**2 * problem.distribution.count
    regrets = [(errors + nothing) / (errors[allowed].min() + nothing) for errors in (plain, weighted)]
    return candidates[int(np.where(allowed, np.maximum(*regrets), np.inf).argmin())]
