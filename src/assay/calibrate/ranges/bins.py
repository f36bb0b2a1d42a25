"""Histogram bins as intervals of the number line, and the squared error of quantizing what lies in them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

from assay.calibrate.statistics import INFINITY_BIN, SIGN_BIN
from assay.core.calibration import TensorStatistics

POINT = 1e-6
"""Relative width given to a bin that holds one value only, such as the upper limit of a clipped activation."""


@dataclass(frozen=True, slots=True)
class Bins:
    """Non-empty bins, each taken as a uniform density between its edges.

    Attributes:
        edges: ``[2, B] float64``, smallest and largest value of each bin.
        counts: ``[B] float64``, values in each bin.
    """

    edges: NDArray[np.float64]
    counts: NDArray[np.float64]

    @classmethod
    def of(cls, statistics: TensorStatistics, finest: float) -> Self:
        """The bins of a tensor, without those whose values every step of at least ``finest`` rounds to zero.

        Such values cost the same under every candidate. Edges are cut at the exact minimum and maximum.
        """
        index = np.flatnonzero(statistics.histogram)
        magnitude = index & (SIGN_BIN - 1)
        inner = (magnitude << 16).astype(np.uint32).view(np.float32).astype(np.float64)
        keep = (magnitude > 0) & (magnitude < INFINITY_BIN) & (inner >= finest / 8)
        index, magnitude, inner = index[keep], magnitude[keep], inner[keep]
        outer = ((magnitude + 1) << 16).astype(np.uint32).view(np.float32).astype(np.float64)
        negative = index >= SIGN_BIN
        edges = np.stack([np.where(negative, -outer, inner), np.where(negative, -inner, outer)])
        edges = np.clip(edges, statistics.low, statistics.high)
        point = POINT * np.abs(edges[0])
        thin = edges[1] - edges[0] < point
        edges[0] -= thin * point / 2
        edges[1] += thin * point / 2
        return cls(edges, statistics.histogram[index].astype(np.float64))

    def measure_error(self, scale: float, lowest: int, highest: int) -> float:
        """Sum of squared errors of ``scale * clip(round(x / scale), lowest, highest)``, codes relative to zero.

        Exact for the uniform densities: the integral of ``(u - clip(round(u)))^2`` from 0 to t is
        ``k/12 + (t - k)^3 / 3`` with ``k = clip(round(t))``, for rounding and for clipping alike.
        """
        steps = self.edges / scale
        codes = np.clip(np.rint(steps), lowest, highest)
        steps -= codes
        integral = codes / 12 + steps * steps * steps / 3
        density = self.counts / (self.edges[1] - self.edges[0])
        return float(((integral[1] - integral[0]) * density).sum()) * scale**3

    def measure_tail_loss(self, clip: float) -> float:
        """Share of the energy of the values beyond ``clip`` that clipping them there removes; 0 where none is."""
        centres = self.edges.mean(axis=0)
        beyond = centres > clip if clip > 0 else centres < clip
        if not beyond.any():
            return 0.0
        values, counts = centres[beyond], self.counts[beyond]
        lost = float((np.square(values - clip) * counts).sum())
        return lost / float((np.square(values) * counts).sum())
