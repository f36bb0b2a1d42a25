"""Relative tolerances, whose margin depends on a reference that is itself only measured."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import special

from assay.core.errors import MeasurementError
from assay.measure.statistics.betting import bound_mean


@dataclass(frozen=True, slots=True)
class RelativeLosses:
    """Losses less the share of the reference that may be lost: their mean is at most 0 where the tolerance is kept.

    Attributes:
        values: ``[n]``, each in [-1, 1].
        scale: factor that turns them back into the metric's own unit; the same for every chunk.
    """

    values: NDArray[np.float64]
    scale: float


def relative_losses(
    before: NDArray[np.float64], after: NDArray[np.float64], amount: float, *, higher_is_better: bool
) -> RelativeLosses:
    """What a sequential test of a relative tolerance takes, with margin 0.

    ``mean(loss) <= amount |mean(before)|`` is ``mean(loss - amount |before|) <= 0`` where all scores have one sign, so
    that nothing needs to be known of the reference. A negated metric, whose best value is 0 and whose others lie
    below, may drop by the share of its size, as any other.

    Args:
        before: ``[n]`` the reference's item scores, all in [0, 1], or all in [-1, 0].
        after: ``[n]`` the variant's, likewise.
        amount: tolerated share of the reference, in (0, 1).
        higher_is_better: direction of the metric.

    Raises:
        MeasurementError: the scores are of both signs or out of range, or cannot be paired.
    """
    if before.shape != after.shape or not 0 < amount < 1:
        raise MeasurementError(
            f"{list(before.shape)} and {list(after.shape)} scores cannot be compared at a share of {amount}"
        )
    both = np.concatenate([before, after])
    if not (((both >= 0) & (both <= 1)).all() or ((both >= -1) & (both <= 0)).all()):
        raise MeasurementError(
            "a relative tolerance of scores that are not all in [0, 1], or all in [-1, 0], cannot be certified",
            "give the tolerance in the metric's own unit",
        )
    losses = before - after if higher_is_better else after - before
    scale = 1 + amount
    return RelativeLosses((losses - amount * np.abs(before)) / scale, scale)


def bound_reference(scores: NDArray[np.float64], gamma: float) -> float:
    """Lower bound of the size of a reference's metric, for the margin of a relative tolerance.

    Args:
        scores: ``[n]`` item scores, in [-1, 1]; of a metric of either direction. Scores of 0 and 1 get the exact bound
            of Clopper and Pearson, others that of a betting martingale.
        gamma: probability that the bound is above the size; it is taken from the error of the test.

    Raises:
        MeasurementError: no scores, one out of range, or a gamma not between 0 and 1.
    """
    return confine_reference(scores, gamma)[0]


def confine_reference(scores: NDArray[np.float64], gamma: float) -> tuple[float, float]:
    """Lower and upper bound of the size of a reference's metric, each at confidence ``1 - gamma``.

    Raises:
        MeasurementError: no scores, one out of range, or a gamma not between 0 and 1.
    """
    if not scores.size or not 0 < gamma < 1 or not ((scores >= -1) & (scores <= 1)).all():
        raise MeasurementError(
            f"the reference's metric cannot be bounded from {scores.size} scores at an error of {gamma}",
            "item scores must be between -1 and 1",
        )
    if (scores >= 0).all():
        return _confine_mean(scores, gamma)
    if (scores <= 0).all():
        return _confine_mean(-scores, gamma)
    # The mean may have either sign: each side's bound at half of gamma, of scores moved into [0, 1].
    low, high = (2 * one - 1 for one in _confine_mean((1 + scores) / 2, gamma / 2))
    return max(0.0, low, -high), max(abs(low), abs(high))


def _confine_mean(scores: NDArray[np.float64], gamma: float) -> tuple[float, float]:
    """One-sided bounds of the mean of scores in [0, 1]."""
    if not ((scores == 0) | (scores == 1)).all():
        return bound_mean(scores, 1 - gamma), 1 - bound_mean(1 - scores, 1 - gamma)
    n, ones = scores.size, int(scores.sum())
    low = float(special.betaincinv(ones, n - ones + 1, gamma)) if ones else 0.0
    high = float(special.betaincinv(ones + 1, n - ones, 1 - gamma)) if ones < n else 1.0
    return low, high
