"""What a range solver is asked: one tensor under one dialect, with everything that several solvers derive from it."""

from __future__ import annotations

from functools import cached_property

import numpy as np

from assay.calibrate.ranges.distribution import Distribution, Floats
from assay.calibrate.ranges.error_grid import STEPS, ErrorGrid
from assay.core.calibration import TensorRange, TensorStatistics

POSITIVE_CODES = 127
LEAST_SHRINK = 0.1
"""Smallest range that is searched, as a share of the widest."""
ZERO_POINTS = 32
"""Zero points tried for each scale, before all those around the best."""


class RangeProblem:
    """One tensor whose range is wanted; the parts are made when they are first read.

    Both encodings have 256 codes, and a symmetric one has its zero in the middle: so a range does not depend on
    whether the codes are signed.

    Args:
        statistics: of a tensor with at least one finite value.
        symmetric: the zero point must be the middle of the code range.
    """

    def __init__(self, statistics: TensorStatistics, *, symmetric: bool) -> None:
        self.statistics = statistics
        self.symmetric = symmetric

    @cached_property
    def widest(self) -> TensorRange:
        """From the exact minimum to the exact maximum, widened to hold zero."""
        if self.symmetric:
            largest = self.statistics.largest
            return TensorRange(0.0 - largest, largest)  # a plain minus would give -0.0 for zero
        return TensorRange(min(self.statistics.low, 0.0), max(self.statistics.high, 0.0))

    @property
    def blank(self) -> bool:
        """Whether no value but those in the bin of zero was seen: there is nothing to solve."""
        return not self.distribution.points.size

    @cached_property
    def distribution(self) -> Distribution:
        """Of the values other than zero."""
        return Distribution.of(self.statistics)

    @cached_property
    def magnitudes(self) -> Distribution:
        """Of the magnitudes of the values other than zero."""
        return Distribution.of_magnitudes(self.statistics)

    @cached_property
    def errors(self) -> ErrorGrid:
        """Squared errors of every encoding whose range is at least ``LEAST_SHRINK`` of the widest."""
        steps = 2 * POSITIVE_CODES if self.symmetric else STEPS
        return ErrorGrid.of(self.distribution, LEAST_SHRINK * (self.widest.high - self.widest.low) / steps)

    @cached_property
    def weighted_errors(self) -> ErrorGrid:
        """The same where an error counts in proportion to the magnitude of the value that it hits."""
        return self.errors.weigh(1.0)

    def limit(self, low: float, high: float) -> TensorRange:
        """The nearest range to these limits that the dialect has, inside the widest and holding zero.

        The widest one, where nothing but zero would be left.
        """
        if self.symmetric:
            limit = min(max(-low, high), self.widest.high)
            return TensorRange(-limit, limit) if limit > 0 else self.widest
        low, high = max(low, self.widest.low), min(high, self.widest.high)
        found = TensorRange(0.0 + min(low, 0.0), max(high, 0.0))
        return found if found.high > found.low else self.widest

    def encode(self, limits: TensorRange) -> tuple[float, int]:
        """Scale, and lowest code relative to the one of zero, of a range that is not empty."""
        if self.symmetric:
            return limits.high / POSITIVE_CODES, -POSITIVE_CODES - 1
        scale = (limits.high - limits.low) / STEPS
        return scale, -min(round(-limits.low / scale), STEPS)

    def list_encodings(self, shares: Floats, near: tuple[float, float] | None = None) -> tuple[Floats, Floats]:
        """Scales of ranges that are ``shares`` of the widest, and zero points that these may have.

        Args:
            shares: ``[S]``, in ``(0, 1]``.
            near: share and lowest code of an encoding out of such a list, next to which all zero points are wanted;
                without it they are spread evenly.

        Returns:
            ``[S]`` scales and ``[S, Z]`` lowest codes relative to zero.
        """
        if self.symmetric:
            return shares * self.widest.high / POSITIVE_CODES, np.full((len(shares), 1), -POSITIVE_CODES - 1.0)
        scales = shares * (self.widest.high - self.widest.low) / STEPS
        least = np.clip(np.rint(STEPS - self.widest.high / scales), 0, STEPS)[:, None]
        most = np.clip(np.rint(-self.widest.low / scales), 0, STEPS)[:, None]
        if near is None:
            wanted = least + np.rint((most - least) * np.linspace(0, 1, ZERO_POINTS + 1))
        else:
            reach = STEPS // ZERO_POINTS + 1
            wanted = np.rint(-near[1] * near[0] / shares)[:, None] + np.arange(-reach, reach + 1)
        return scales, -np.clip(wanted, np.minimum(least, most), most)

    def decode(self, share: float, lowest: float) -> TensorRange:
        """The range of an encoding out of ``list_encodings``, moved by less than half a step to lie in the widest."""
        if share == 1.0:
            return self.widest
        if self.symmetric:
            return self.limit(-share * self.widest.high, share * self.widest.high)
        width = share * (self.widest.high - self.widest.low)
        low = min(max(lowest * width / STEPS, self.widest.low), self.widest.high - width)
        return self.limit(low, low + width)
