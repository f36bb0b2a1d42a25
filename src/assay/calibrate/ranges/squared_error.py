"""The range of least squared quantization error, found from the histogram alone.

Least squares alone would clip a tensor whose few large values are the ones that matter: among 10^6 detection scores
near 0, the one at 0.9 weighs nothing. So a clip must leave the values that it cuts most of their energy. The optima of
bell-shaped and Laplacian tensors (Banner et al. 2019, "Post training 4-bit quantization", ACIQ) lie well inside that
bound; for isolated large values it keeps the range close to the min-max one.
"""

from __future__ import annotations

from operator import attrgetter
from typing import NamedTuple

import numpy as np

from assay.calibrate.ranges.distribution import Floats
from assay.calibrate.ranges.error_grid import ErrorGrid
from assay.calibrate.ranges.problem import LEAST_SHRINK, RangeProblem
from assay.core.calibration import TensorRange

TAIL_LOSS = 1 / 16
"""Largest share of their energy that clipped values may lose: a quarter of their amplitude, root mean square."""

COARSE = 24
FINE = 12


def solve_squared_error(problem: RangeProblem) -> TensorRange:
    """Range of least squared error among clips that cut no value badly; never worse than min-max."""
    return problem.widest if problem.blank else search_range(problem, problem.errors)


def solve_weighted_error(problem: RangeProblem) -> TensorRange:
    """Range of least squared error where an error counts in proportion to the magnitude of the value that it hits.

    Large activations are what the next layer hears: weights that meet them matter most (Lin et al. 2024, "AWQ"). The
    range lies between the one of plain least squares and min-max.
    """
    return problem.widest if problem.blank else search_range(problem, problem.weighted_errors)


def search_range(problem: RangeProblem, cost: ErrorGrid) -> TensorRange:
    """The range of least cost: all zero points of a coarse grid of scales, then of a fine one around the best.

    Args:
        problem: the tensor, with at least one value other than zero.
        cost: what an error costs; the tails are judged by the problem's own grid.
    """
    coarse = np.geomspace(1.0, LEAST_SHRINK, COARSE)
    best = _find_best(problem, cost, coarse)
    step = coarse[0] / coarse[1]
    near = np.geomspace(min(best.share * step, 1.0), max(best.share / step, LEAST_SHRINK), FINE)
    found = min(best, _find_best(problem, cost, near, best), key=attrgetter("error"))
    return problem.decode(found.share, found.lowest)


class Encoded(NamedTuple):
    """An encoding and its cost."""

    error: float
    share: float
    lowest: float


def _find_best(problem: RangeProblem, cost: ErrorGrid, shares: Floats, near: Encoded | None = None) -> Encoded:
    """The best encoding whose range is one of ``shares`` of the widest, and near another one where it is given."""
    scales, lowest = problem.list_encodings(shares, None if near is None else (near.share, near.lowest))
    errors = cost.measure_error(scales, lowest)
    errors[problem.errors.measure_tail_loss(scales, lowest) > TAIL_LOSS] = np.inf
    row, column = np.unravel_index(errors.argmin(), errors.shape)
    return Encoded(float(errors[row, column]), float(shares[row]), float(lowest[row, column]))
