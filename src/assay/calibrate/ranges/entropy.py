"""The range whose clipped and quantized distribution tells least apart from the observed one.

Source: Migacz 2017, "8-bit inference with TensorRT" (GTC): of 2048 equal bins the first ``i`` are kept, what lies
beyond is counted into the last one, these bins are merged into as many groups as there are codes, each group is spread
over its bins that are not empty again, and the ``i`` of least Kullback-Leibler divergence wins. There the magnitudes
are clipped, and 128 codes remain. The asymmetric form here clips a window with two ends, of 256 codes.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from assay.calibrate.ranges.distribution import Distribution, Floats
from assay.calibrate.ranges.error_grid import STEPS
from assay.calibrate.ranges.problem import POSITIVE_CODES, RangeProblem
from assay.core.calibration import TensorRange

BINS = 2048
STRIDES = (16, 1)
"""Of the widths that are tried, coarse to fine."""

Integers = NDArray[np.int64]


class Divergences:
    """Kullback-Leibler divergences of windows of a histogram, for many windows at once.

    The sum over the bins of a group needs only sums from the first bin on, so a window costs as many steps as it has
    groups.

    Args:
        counts: ``[B] float64``, values in bins of equal width.
        codes: groups that the bins of a window are merged into.
    """

    def __init__(self, counts: Floats, codes: int) -> None:
        self._counts = counts
        self._codes = codes
        self._sums = _accumulate(counts)
        self._filled = _accumulate(counts > 0)
        self._logs = _accumulate(_times_log(counts))

    def measure(self, first: Integers | int, last: Integers | int) -> Floats:
        """Divergence in nats of the windows ``first <= bin < last``.

        An empty group that values are clipped into counts as one value: what was seen is never held impossible.

        Args:
            first: ``[K]``, or the same for all.
            last: ``[K]``, or the same for all; at least as many bins beyond ``first`` as there are codes.

        Returns:
            ``[K]``.
        """
        first, last = np.broadcast_arrays(first, last)
        shares = np.arange(self._codes + 1) / self._codes
        bounds = first[:, None] + np.rint((last - first)[:, None] * shares).astype(np.int64)
        inside = np.diff(self._sums[bounds], axis=1)
        filled = np.diff(self._filled[bounds], axis=1)
        observed = inside.copy()
        entropy = self._logs[last] - self._logs[first]
        for group, bin_, clipped in (
            (0, first, self._sums[first]),
            (-1, last - 1, self._sums[-1] - self._sums[last]),
        ):
            own = self._counts[bin_]
            observed[:, group] += clipped
            filled[:, group] += (own == 0) & (clipped > 0)
            entropy += _times_log(own + clipped) - _times_log(own)
        level = np.divide(inside, filled, out=np.ones_like(inside), where=inside > 0)
        entropy -= (observed * np.log(level)).sum(axis=1)
        count, kept = self._sums[-1], np.maximum(self._sums[last] - self._sums[first], 1.0)
        divergences: Floats = entropy / count + np.log(kept / count)
        return divergences


def solve_entropy(problem: RangeProblem) -> TensorRange:
    """Range of least Kullback-Leibler divergence."""
    if problem.blank:
        return problem.widest
    widest = problem.widest
    if problem.symmetric:
        last = _find_end(problem.magnitudes, widest.high, POSITIVE_CODES + 1)
        return problem.limit(-last * widest.high, last * widest.high)
    if widest.low == 0:
        return problem.limit(0.0, _find_end(problem.distribution, widest.high, STEPS + 1) * widest.high)
    if widest.high == 0:
        return problem.limit(_find_end(problem.magnitudes, -widest.low, STEPS + 1) * widest.low, 0.0)
    edges = np.linspace(widest.low, widest.high, BINS + 1)
    first, last = _find_window(_count(problem.distribution, edges), zero=round(-widest.low / (edges[1] - edges[0])))
    return problem.limit(float(edges[first]), float(edges[last]))


def _count(distribution: Distribution, edges: Floats) -> Floats:
    """Values between each two edges, the first and the last of which enclose all."""
    sums = distribution.count_up_to(edges)
    sums[0], sums[-1] = 0.0, distribution.count
    return np.diff(sums)


def _find_end(distribution: Distribution, largest: float, codes: int) -> float:
    """Share of ``largest`` at which magnitudes are clipped best."""
    counts = _count(distribution, np.linspace(0.0, largest, BINS + 1))
    divergences = Divergences(counts, codes)
    return _search(lambda last: divergences.measure(np.zeros_like(last), last), codes, BINS) / BINS


def _find_window(counts: Floats, zero: int) -> tuple[int, int]:
    """First bin of the best window and the one after its last: both ends move together, then in turns."""
    codes = STEPS + 1
    divergences = Divergences(counts, codes)

    def shrink(widths: Integers) -> Floats:
        low = np.rint(zero * (1 - widths / BINS)).astype(np.int64)
        return divergences.measure(low, low + widths)

    width = _search(shrink, codes, BINS)
    first = round(zero * (1 - width / BINS))
    last = first + width
    least = max(codes, last - zero)
    first = last - _search(lambda widths: divergences.measure(last - widths, last), least, last)
    least = max(codes, zero - first)
    return first, first + _search(lambda widths: divergences.measure(first, first + widths), least, BINS - first)


def _search(measure: Callable[[Integers], Floats], least: int, most: int) -> int:
    """The number in ``[least, most]`` of least divergence, the largest of equals: ever finer around the best."""
    best, reach = most, most - least
    for stride in STRIDES:
        highest, lowest = min(most, best + reach), max(least, best - reach)
        tried = np.append(np.arange(highest, lowest, -stride), lowest)
        best, reach = int(tried[measure(tried).argmin()]), stride
    return best


def _accumulate(values: NDArray[np.generic]) -> Floats:
    """Sums of the first 0, 1, 2, ... values."""
    return np.concatenate([np.zeros(1), np.cumsum(values, dtype=np.float64)])


def _times_log(counts: Floats) -> Floats:
    """``c ln c``, and 0 for 0."""
    return counts * np.log(counts, where=counts > 0, out=np.zeros_like(counts))
