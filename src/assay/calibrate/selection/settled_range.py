"""A tensor's range of least squared error and the noise under any range, fast enough to be asked while observing.

Works on bins an eighth of a binade wide and on all candidates at once: some tenths of a millisecond a tensor. It says
when ranges have settled; those that a model is quantized with come from ``calibrate.ranges``.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

from assay.calibrate.ranges.squared_error import TAIL_LOSS
from assay.calibrate.statistics import INFINITY_BIN, SIGN_BIN
from assay.core.calibration import TensorRange, TensorStatistics

MERGED = 16
"""Histogram bins taken together: 2^-3 of a binade."""
POINT = 1e-6
"""Relative width given to a bin that holds one value only."""
STEPS = 255
LEAST_SHRINK = 0.1
"""Smallest candidate, as a share of the extreme value."""
COARSE = 32
FINE = 17
TINY = 1e-300


@dataclass(frozen=True, slots=True)
class Outline:
    """What is kept of a tensor's statistics: few bins, each a uniform density, the largest values first on each side.

    Attributes:
        edges: ``[2, B] float64``, smallest and largest value of each bin.
        counts: ``[B] float64``, values in each bin.
        low: exact minimum, at most 0.
        high: exact maximum, at least 0.
        signal: sum of squares of all values.
    """

    edges: NDArray[np.float64]
    counts: NDArray[np.float64]
    low: float
    high: float
    signal: float

    @classmethod
    def of(cls, statistics: TensorStatistics) -> Self:
        """Outline of a tensor with finite values; zeros are left out, since every range holds them exactly."""
        merged = statistics.histogram.reshape(-1, MERGED).sum(axis=1)
        merged[[0, SIGN_BIN // MERGED]] -= [statistics.histogram[0], statistics.histogram[SIGN_BIN]]
        index = np.flatnonzero(merged) * MERGED
        magnitude = index & (SIGN_BIN - 1)
        index, magnitude = index[magnitude < INFINITY_BIN], magnitude[magnitude < INFINITY_BIN]
        counts = merged[index // MERGED].astype(np.float64)
        inner = (magnitude << 16).astype(np.uint32).view(np.float32).astype(np.float64)
        outer = _outer_edge(magnitude)
        negative = index >= SIGN_BIN
        edges = np.stack([np.where(negative, -outer, inner), np.where(negative, -inner, outer)])
        edges = np.clip(edges, statistics.low, statistics.high)
        point = POINT * np.abs(edges[1]) + TINY
        thin = edges[1] - edges[0] < point
        edges += np.stack([-point, point]) * (thin / 2)
        low, high = min(statistics.low, 0.0), max(statistics.high, 0.0)
        return cls(edges, counts, low, high, statistics.total_squares)


def _outer_edge(magnitude: NDArray[np.int64]) -> NDArray[np.float64]:
    """Upper edge of each merged bin; that of the last one is the largest finite number."""
    upper = ((magnitude + MERGED) << 16).astype(np.uint32).view(np.float32).astype(np.float64)
    return np.minimum(upper, np.finfo(np.float32).max)


def measure_noise(outline: Outline, low: NDArray[np.float64], high: NDArray[np.float64]) -> NDArray[np.float64]:
    """Sum of squared errors of 256 codes from ``low`` to ``high``, for ``[S]`` ranges at once; exact for the bins.

    The integral of ``(u - clip(round(u)))^2`` from 0 to t is ``k/12 + (t - k)^3 / 3`` with ``k = clip(round(t))``.
    """
    scale = (high - low)[:, None, None] / STEPS
    zero_point = np.rint(-low[:, None, None] / scale)
    steps = outline.edges / scale
    widths = steps[:, 1] - steps[:, 0]
    codes = np.clip(np.rint(steps), -zero_point, STEPS - zero_point)
    steps -= codes
    integral = codes / 12 + steps * steps * steps / 3
    mean = (integral[:, 1] - integral[:, 0]) / widths
    noise: NDArray[np.float64] = (mean @ outline.counts) * np.square(scale[:, 0, 0])
    return noise


def settle_range(outline: Outline) -> TensorRange:
    """Range of least squared error among clips that leave the clipped values most of their energy."""
    low, high = outline.low, outline.high
    if high <= low or not outline.counts.size:
        return TensorRange(low, high)

    def measure(lows: NDArray[np.float64], highs: NDArray[np.float64]) -> NDArray[np.float64]:
        return measure_noise(outline, lows, highs)

    gentle_low, gentle_high = (_list_gentle(outline, side) for side in (low, high))
    together = _search(lambda share: measure(share * low, share * high), max(gentle_low, gentle_high))
    if low == 0 or high == 0:
        return TensorRange(together * low, together * high)
    first = _search(lambda share: measure(share * low, np.full_like(share, together * high)), gentle_low)
    second = _search(lambda share: measure(np.full_like(share, first * low), share * high), gentle_high)
    return TensorRange(first * low, second * high)


def _list_gentle(outline: Outline, limit: float) -> float:
    """Smallest share of a limit at which the clipped values lose no more of their energy than the solvers allow."""
    if limit == 0:
        return LEAST_SHRINK
    shares = LEAST_SHRINK ** np.linspace(0, 1, COARSE)
    centres = outline.edges.mean(axis=0) / limit
    beyond = np.maximum(centres - shares[:, None], 0.0)
    past = centres > shares[:, None]
    energy = (past * np.square(centres)) @ outline.counts
    lost = np.square(beyond) @ outline.counts
    harsh = np.flatnonzero(lost > TAIL_LOSS * energy)
    return float(shares[max(0, harsh[0] - 1)]) if harsh.size else LEAST_SHRINK


def _search(measure: Callable[[NDArray[np.float64]], NDArray[np.float64]], least: float) -> float:
    """Share from ``least`` to 1 of least error: a geometric grid, then a finer one around its best point."""
    grid = least ** np.linspace(0, 1, COARSE)
    best = float(grid[np.argmin(measure(grid))])
    step = least ** (1 / (COARSE - 1))
    fine = np.linspace(max(best * step, least), min(best / step, 1.0), FINE)
    return float(fine[np.argmin(measure(fine))])
