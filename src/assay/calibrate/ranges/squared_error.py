"""The range of least squared quantization error, found from the histogram alone.

Least squares alone would clip a tensor whose few large values are the ones that matter: among 10^6 detection scores
near 0, the one at 0.9 weighs nothing. So a clip must leave the values that it cuts most of their energy. The optima of
bell-shaped and Laplacian tensors (Banner et al. 2019, "Post training 4-bit quantization", ACIQ) lie well inside that
bound; for isolated large values it keeps the range close to the min-max one.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from assay.calibrate.ranges.bins import Bins
from assay.calibrate.ranges.min_max import solve_min_max
from assay.core.calibration import TensorRange, TensorStatistics
from assay.core.precision import IntegerFormat

TAIL_LOSS = 1 / 16
"""Largest share of their energy that clipped values may lose: a quarter of their amplitude, root mean square."""

LEAST_SHRINK = 0.1
"""Smallest candidate, as a share of the extreme value."""
COARSE = 24
FINE = 8
ROUNDS = 2

STEPS = 255
POSITIVE_CODES = 127


def solve_squared_error(
    statistics: TensorStatistics,
    activation: IntegerFormat,
    symmetric: bool,  # noqa: FBT001 signature of every solver
) -> TensorRange:
    """Range of least squared error among clips that cut no value badly; never worse than min-max."""
    widest = solve_min_max(statistics, activation, symmetric)
    bins = Bins.of(statistics, LEAST_SHRINK * (widest.high - widest.low) / STEPS)
    if not bins.counts.size:
        return widest
    return _solve_symmetric(bins, widest) if symmetric else _solve_asymmetric(bins, widest)


def _solve_symmetric(bins: Bins, widest: TensorRange) -> TensorRange:
    """One limit for both signs."""

    def measure(share: float) -> float:
        limit = share * widest.high
        if not _is_gentle(bins, limit) or not _is_gentle(bins, -limit):
            return np.inf
        return bins.measure_error(limit / POSITIVE_CODES, -POSITIVE_CODES - 1, POSITIVE_CODES)

    share = _search(measure)
    return TensorRange(share * widest.low, share * widest.high)


def _solve_asymmetric(bins: Bins, widest: TensorRange) -> TensorRange:
    """Both limits, first shrunk together, then in turns."""

    def measure(low: float, high: float) -> float:
        scale = (high - low) / STEPS
        zero_point = round(-low / scale)
        if not _is_gentle(bins, low) or not _is_gentle(bins, high):
            return np.inf
        return bins.measure_error(scale, -zero_point, STEPS - zero_point)

    low, high = widest.low, widest.high
    if low == 0 or high == 0:
        share = _search(lambda share: measure(share * low, share * high))
        return TensorRange(share * low, share * high)
    together = _search(lambda share: measure(share * low, share * high))
    shares = [together, together]
    for _ in range(ROUNDS):
        shares[0] = _search(lambda share: measure(share * low, shares[1] * high), shares[0])
        shares[1] = _search(lambda share: measure(shares[0] * low, share * high), shares[1])
    return TensorRange(shares[0] * low, shares[1] * high)


def _is_gentle(bins: Bins, clip: float) -> bool:
    """Whether clipping here leaves the clipped values most of their energy."""
    return clip == 0 or bins.measure_tail_loss(clip) <= TAIL_LOSS


def _search(measure: Callable[[float], float], start: float = 1.0) -> float:
    """The share in ``[LEAST_SHRINK, 1]`` of least error: a geometric grid, then a finer one around its best point.

    Gives back ``start`` where nothing is better, so repeated searches never get worse.
    """
    errors = {start: measure(start)}
    grid = np.geomspace(1.0, LEAST_SHRINK, COARSE)
    for share in grid:
        errors[float(share)] = measure(float(share))
    best = min(errors, key=errors.__getitem__)
    step = (1 / LEAST_SHRINK) ** (1 / (COARSE - 1))
    for share in np.geomspace(best / step, min(best * step, 1.0), FINE):
        errors[float(share)] = measure(float(share))
    return min(errors, key=errors.__getitem__)
