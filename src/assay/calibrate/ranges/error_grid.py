"""Squared error of quantizing a tensor, for many encodings at once, from its distribution alone.

An encoding is a scale and its lowest code relative to the one of zero; it has 256 codes. Every multiple of the scale
between the first and the last code is exact, whatever the zero point: so one pass over the bins for a scale gives the
rounding error of all its zero points, and the clipping errors follow from moments of the tails.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

from assay.calibrate.ranges.distribution import Distribution, Floats, find_bin, find_edges

STEPS = 255
LINEAR_BINS = 256
"""Bins of equal width next to zero, where those of the histogram are much finer than any scale."""
BINS_A_FINEST = 4
"""How many of them make the finest scale."""
MARGIN = 0.5
"""Steps beyond the last code within which a value is off by no more than rounding is."""


@dataclass(frozen=True, slots=True)
class Tail:
    """What lies beyond a clip on the upper side.

    Attributes:
        edges: ``[B + 1] float64``, rising.
        density: ``[B] float64``, weight of the values in each bin over its width.
        moments: ``[3, B + 1] float64``, of order 0, 1 and 2 over the bins from each edge on.
    """

    edges: Floats
    density: Floats
    moments: Floats

    @classmethod
    def of(cls, edges: Floats, density: Floats) -> Self:
        """Sums from the outermost bin inwards, so that a small tail keeps its digits."""
        start, end = edges[:-1], edges[1:]
        weights = density * (end - start)
        each = np.stack([weights, weights * (start + end) / 2, weights * _mean_square(start, end)])
        moments = np.zeros((3, len(edges)))
        moments[:, :-1] = np.cumsum(each[:, ::-1], axis=1)[:, ::-1]
        return cls(edges, density, moments)

    def measure(self, clips: Floats) -> tuple[Floats, Floats]:
        """Squared error of setting what lies beyond each clip to the clip, and the energy of what lies there."""
        start, bin_ = locate(self.edges, clips)
        end, density = self.edges[bin_ + 1], self.density[bin_]
        zeroth, first, second = self.moments[:, bin_ + 1]
        error = second - 2 * clips * first + np.square(clips) * zeroth
        error += density * (_cube(end - clips) - _cube(start - clips)) / 3
        energy = second + density * (end - start) * _mean_square(start, end)
        return error, energy


@dataclass(frozen=True, slots=True)
class ErrorGrid:
    """Contiguous bins fine enough for every scale from the finest on, each with a uniform density.

    Attributes:
        edges: ``[B + 1] float64``, rising.
        density: ``[B] float64``, weight of the values in each bin over its width.
        upper: the tail towards the largest values.
        lower: the tail towards the smallest, mirrored.
    """

    edges: Floats
    density: Floats
    upper: Tail
    lower: Tail

    @classmethod
    def of(cls, distribution: Distribution, finest: float) -> Self:
        """The bins of a distribution with at least one value, for scales of at least ``finest``.

        Values below an eighth of the finest scale cost the same under all scales, and are left out.
        """
        first, last = distribution.points[0], distribution.points[-1]
        edges = np.concatenate([-_list_edges(-first, finest)[::-1], _list_edges(last, finest)])
        edges = np.clip(edges, first, last)
        edges = edges[np.append(np.diff(edges) > 0, True)]
        density = np.diff(distribution.count_up_to(edges)) / np.diff(edges)
        density[(edges[:-1] < 0) & (edges[1:] > 0)] = 0.0
        return cls._build(edges, density)

    @classmethod
    def _build(cls, edges: Floats, density: Floats) -> Self:
        return cls(edges, density, Tail.of(edges, density), Tail.of(-edges[::-1], density[::-1]))

    def weigh(self, power: float) -> ErrorGrid:
        """The same grid with every value weighted by a power of its magnitude."""
        centres = np.abs(self.edges[:-1] + self.edges[1:]) / 2
        largest = max(-self.edges[0], self.edges[-1])
        return self._build(self.edges, self.density * (centres / largest) ** power)

    def measure_error(self, scales: Floats, lowest: Floats) -> Floats:
        """Sum of squared errors of ``scale * clip(round(x / scale), lowest, lowest + 255)``.

        Exact for the uniform densities: the integral of ``(u - round(u))^2`` from 0 to t is ``k/12 + (t - k)^3 / 3``
        with ``k = round(t)``.

        Args:
            scales: ``[S]``, positive.
            lowest: ``[S, Z]``, whole numbers in ``[-255, 0]``.

        Returns:
            ``[S, Z]``.
        """
        integral = _integrate_rounding(self.edges / scales[:, None])
        rounding = np.zeros_like(integral)
        np.cumsum(np.diff(integral) * self.density, axis=1, out=rounding[:, 1:])
        rows = np.arange(len(scales))[:, None]
        steps = scales[:, None]

        def sum_up_to(clips: Floats) -> Floats:
            start, bin_ = locate(self.edges, clips)
            part = self.density[bin_] * (_integrate_rounding(start / steps) - integral[rows, bin_])
            total: Floats = rounding[rows, bin_] + part
            return total

        low, high = steps * lowest, steps * (lowest + STEPS)
        inside = (sum_up_to(high) - sum_up_to(low)) * steps**3
        error: Floats = inside + self.upper.measure(high)[0] + self.lower.measure(-low)[0]
        return np.maximum(error, 0.0)

    def measure_tail_loss(self, scales: Floats, lowest: Floats) -> Floats:
        """Share of their energy that the values beyond the codes lose, on the worse side; 0 where none lies beyond.

        Args:
            scales: ``[S]``, positive.
            lowest: ``[S, Z]``, whole numbers in ``[-255, 0]``.

        Returns:
            ``[S, Z]``, between 0 and 1.
        """
        steps = scales[:, None]
        sides = [
            self.upper.measure(steps * (lowest + STEPS + MARGIN)),
            self.lower.measure(steps * (MARGIN - lowest)),
        ]
        shares = [np.divide(lost, energy, out=np.zeros_like(lost), where=energy > 0) for lost, energy in sides]
        worse: Floats = np.maximum(*shares)
        return worse


def locate(edges: Floats, values: Floats) -> tuple[Floats, NDArray[np.intp]]:
    """Values moved into ``[edges[0], edges[-1]]``, and the bin of each."""
    inside = np.clip(values, edges[0], edges[-1])
    return inside, np.clip(np.searchsorted(edges, inside, side="right") - 1, 0, len(edges) - 2)


def _mean_square(start: Floats, end: Floats) -> Floats:
    """Mean of the squares between two points; no difference of cubes, which loses the digits of a thin bin."""
    mean: Floats = (np.square(start) + start * end + np.square(end)) / 3
    return mean


def _cube(values: Floats) -> Floats:
    """Third power; a general power is many times slower."""
    return values * values * values


def _integrate_rounding(steps: Floats) -> Floats:
    """Integral of the squared rounding error from 0 to each of ``steps``, in units of the step."""
    codes = np.rint(steps)
    rest = steps - codes
    rest *= rest * rest
    rest /= 3
    codes /= 12
    codes += rest
    return codes


def _list_edges(largest: float, finest: float) -> Floats:
    """Edges of one side up to ``largest``: of equal width next to zero, then those of the histogram."""
    if largest <= 0:
        return np.zeros(0)
    first = max(1, find_bin(LINEAR_BINS // BINS_A_FINEST * finest))
    linear = np.linspace(finest / (2 * BINS_A_FINEST), float(find_edges(np.array([first]))[0]), LINEAR_BINS)
    edges = np.concatenate([linear[:-1], find_edges(np.arange(first, find_bin(largest) + 1)), [largest]])
    return edges[edges <= largest]
