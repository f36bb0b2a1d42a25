"""What ranges solved from one set cost on another: quantization noise over that of the other set's own ranges.

The noise-to-signal ratios of a network's tensors add up at its output (Lin, Talathi and Annapureddy 2016, "Fixed point
quantization of deep convolutional networks", section 3), so their sum under the ranges of the one set, over the sum
under the ranges of the other, is the noise that the choice of the set adds: 6.02 dB are one bit of precision.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from assay.calibrate.fitness.distance import estimate_distance, estimate_unused, list_groups
from assay.calibrate.fitness.jackknife import clip_estimate, estimate_jackknife
from assay.calibrate.fitness.noise import describe_density
from assay.calibrate.ranges.solve import solve_range
from assay.core.calibration import COARSE_BINS, GROUPS, Calibration, TensorRange, TensorStatistics
from assay.core.estimate import Estimate
from assay.core.fitness import TensorFitness
from assay.core.plan import Scheme

WEIGHT_NOISE = (4 / 127) ** 2 / 12
"""Noise-to-signal ratio (-41 dB) added to that of every tensor, for the weights beside it: what rounding bell-shaped
weights costs whose largest, at four standard deviations, takes code 127. Without it, a tensor that eight bits hold
almost exactly would count as spoilt by noise that no output shows."""

UNFIT_DB = float(20 * np.log10(2.0))
"""Excess noise over all tensors that is one of the eight bits: 6.02 dB."""

LOST_DB = 2 * UNFIT_DB
"""Excess noise of a single tensor that is two bits. The sum over all tensors cannot know that one matters more than
others, as the input does."""

LARGEST_DB = 200.0
"""Where excess noise is cut: a range of zero width makes it unbounded."""


@dataclass(frozen=True, slots=True)
class TensorHarm:
    """Noise of one tensor on the other set; arrays hold the whole set first, then all but one group of items each.

    Attributes:
        fitness: the tensor's figures.
        limits: range solved from the calibration set.
        reached: smallest and largest value in the other set.
        ratio: ``[1 + G]`` noise-to-signal ratio under the range of the calibration set, with ``WEIGHT_NOISE``.
        own_ratio: ``[1 + G]`` under the range solved from the other set, with it too.
    """

    fitness: TensorFitness
    limits: TensorRange
    reached: TensorRange
    ratio: NDArray[np.float64]
    own_ratio: NDArray[np.float64]

    @property
    def added(self) -> float:
        """Noise-to-signal ratio that the calibration set adds."""
        return float(self.ratio[0] - self.own_ratio[0])


def measure_harm(calibration: Calibration, sample: Calibration, scheme: Scheme) -> tuple[TensorHarm, ...]:
    """Harm of every tensor that both sets have statistics of, the worst first.

    Left out are tensors with NaN or infinite values, which stay in floats, and those of which the sample has nothing
    but zeros: no range is wrong for them.
    """
    held = find_held_groups(sample)
    items = (calibration.items, sample.items)
    harms = [
        _measure_tensor(name, one, sample.tensors[name], scheme, held, items)
        for name, one in calibration.tensors.items()
        if name in sample.tensors and is_judged(one, sample.tensors[name])
    ]
    return tuple(sorted(harms, key=lambda harm: -harm.added))


def find_held_groups(calibration: Calibration) -> NDArray[np.int64]:
    """Indices of the groups that hold an item."""
    held = np.zeros(GROUPS, np.bool_)
    for statistics in calibration.tensors.values():
        if statistics.groups is not None:
            held |= statistics.groups.any(axis=1)
    return np.flatnonzero(held)


def estimate_total(harms: Sequence[TensorHarm], items: int) -> Estimate:
    """Excess noise over all tensors, in dB; ``items`` of the other set."""
    ratio = np.sum([harm.ratio for harm in harms], axis=0)
    own = np.sum([harm.own_ratio for harm in harms], axis=0)
    return _estimate_excess(ratio, own, items)


def _estimate_excess(ratio: NDArray[np.float64], own: NDArray[np.float64], items: int) -> Estimate:
    decibels = np.clip(10 * np.log10(ratio / own), -LARGEST_DB, LARGEST_DB)
    return estimate_jackknife(float(decibels[0]), (decibels[1:],), "dB", items)


def is_judged(one: TensorStatistics, other: TensorStatistics) -> bool:
    """Whether a range is solved from the first statistics that may be wrong for the second ones."""
    return one.count > 0 and not one.nonfinite and not other.nonfinite and other.total_squares > 0


def _measure_tensor(
    name: str,
    one: TensorStatistics,
    other: TensorStatistics,
    scheme: Scheme,
    held: NDArray[np.int64],
    items: tuple[int, int],
) -> TensorHarm:
    """Harm of one tensor; ``held`` are the sample's groups with items, ``items`` those of both sets."""
    dialect, grouped = scheme.dialect, other.groups is not None
    groups = list_groups(other)[held] if grouped else np.zeros((held.size, COARSE_BINS), np.int64)
    limits, own = (
        solve_range(statistics, scheme.ranges, dialect.activation, symmetric=dialect.symmetric)
        for statistics in (one, other)
    )
    fine, coarse = describe_density(other.histogram[np.newaxis], other), describe_density(groups, other)
    noise, own_noise = (
        _leave_out(fine.measure_noise(r, dialect)[0], coarse.measure_noise(r, dialect)) for r in (limits, own)
    )
    energy = _leave_out(other.total_squares, coarse.energy)
    ratio, own_ratio = noise / energy + WEIGHT_NOISE, own_noise / energy + WEIGHT_NOISE
    beyond = _leave_out(fine.count_beyond(limits)[0], coarse.count_beyond(limits))
    clipped = beyond / _leave_out(float(other.count), groups.sum(axis=1).astype(np.float64))
    known = slice(None) if grouped else slice(1)
    clip_rate = estimate_jackknife(float(clipped[0]), (clipped[known][1:],), "1", items[1])
    fitness = TensorFitness(
        tensor=name,
        clip_rate=clip_estimate(clip_rate, 0.0, 1.0),
        unused=estimate_unused(limits, other, items[1]),
        distance=estimate_distance(one, other, sum(items)),
        excess_noise_db=_estimate_excess(ratio[known], own_ratio[known], items[1]),
    )
    return TensorHarm(fitness, limits, TensorRange(other.low, other.high), ratio, own_ratio)


def _leave_out(whole: float, groups: NDArray[np.float64]) -> NDArray[np.float64]:
    """``[1 + G]``: a sum over all items, then without each group, by the groups' shares of the coarse sum.

    A set that would be left with nothing keeps a millionth; a tensor whose groups are unknown stays as it is.
    """
    share = groups / groups.sum() if groups.sum() > 0 else np.zeros_like(groups)
    return whole * np.concatenate([[1.0], np.maximum(1 - share, 1e-6)])
