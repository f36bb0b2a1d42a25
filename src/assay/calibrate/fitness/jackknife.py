"""Intervals over groups of items.

The values of one item depend on each other, so an interval must count items. Items fall into groups by a hash of
their content, which makes the groups random; leaving out one after the other gives the spread.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray
from scipy import special

from assay.core.estimate import Estimate

CONFIDENCE = 0.95
FEWEST_GROUPS = 2


def estimate_jackknife(value: float, replicates: tuple[NDArray[np.float64], ...], unit: str, n: int) -> Estimate:
    """An estimate with bounds from the spread of its replicates, each with one group of items left out.

    Student's t with one degree of freedom less than there are groups; without bounds where a set has fewer than two
    groups. Source: Kott 2001, "The delete-a-group jackknife", Journal of Official Statistics 17(4).

    Args:
        value: from all groups.
        replicates: ``[G]`` for each set that the value depends on, of its groups that hold an item.
        unit: of the value.
        n: items behind the value.
    """
    fewest = min(one.size for one in replicates)
    if fewest < FEWEST_GROUPS:
        return Estimate(value, None, None, CONFIDENCE, n, unit)
    variance = sum((one.size - 1) / one.size * float(np.square(one - one.mean()).sum()) for one in replicates)
    width = float(special.stdtrit(fewest - 1, CONFIDENCE)) * math.sqrt(variance)
    return Estimate(value, value - width, value + width, CONFIDENCE, n, unit)


def clip_estimate(estimate: Estimate, low: float, high: float) -> Estimate:
    """The same estimate with its value and bounds brought into ``low..high``, where the quantity lives."""

    def clip(bound: float) -> float:
        return min(max(bound, low), high)

    lower, upper = (None if bound is None else clip(bound) for bound in (estimate.low, estimate.high))
    return Estimate(clip(estimate.value), lower, upper, estimate.confidence, estimate.n, estimate.unit)
