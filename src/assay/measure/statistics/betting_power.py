"""The chance that a bound from betting certifies a variant, for metrics whose item scores lie between 0 and 1.

The logarithm of the wealth that `betting` reaches after n items is about normal: its drift and spread follow from the
margin left, the standard deviation of an item's difference, and the bets, which begin small since the variance is not
known yet and are capped. The wealth needs to be large enough at any one of the items, not at the last; how much that
adds is known for a Brownian motion (Siegmund, Sequential Analysis, 1985, section III).
"""

from __future__ import annotations

import math
from statistics import NormalDist

import numpy as np

from assay.core.errors import MeasurementError
from assay.measure.statistics.betting import LARGEST_BET

MOST_ITEMS = 10_000_000
"""Beyond this, more items are no answer."""
PRIOR_VARIANCE = 0.25
"""That bets are sized by before the first item, as one item's."""
STEPS = 2_000
"""Above so many items, bets are summed over so many spans of items."""
CREDIT = 0.75
"""Share that counts of what a peak before the last item adds for a Brownian motion: items come in steps."""


def compute_betting_power(deviation: float, loss: float, n: int, margin: float, confidence: float) -> float:
    """Chance that n items certify; a normal approximation, within some points of simulations (bench/power.py).

    Args:
        deviation: standard deviation of one item's difference.
        loss: true loss.
        n: items (>= 1).
        margin: tolerated loss.
        confidence: one-sided.

    Raises:
        MeasurementError: a value is out of range.
    """
    _check(deviation, margin, confidence)
    goal = -math.log1p(-confidence)
    # The test is one of the mean of (1 - difference) / 2, which lies in [0, 1].
    gap, spread, mean = (margin - loss) / 2, deviation / 2, (1 - margin) / 2
    if gap <= 0:
        return 0.0
    edges = np.arange(1, n + 2) if n <= STEPS else np.unique(np.geomspace(1, n + 1, STEPS).round())
    items, weights = (edges[:-1] + edges[1:] - 1) / 2, np.diff(edges)
    bets = np.minimum(np.sqrt(2 * goal / (n * (spread**2 + PRIOR_VARIANCE / items))), LARGEST_BET / mean)
    variances = (bets * spread / (1 + bets * gap)) ** 2
    drift = float(np.sum(weights * (np.log1p(bets * gap) - variances / 2)))
    variance = float(np.sum(weights * variances))
    if variance == 0:
        return float(drift >= goal)
    normal, error = NormalDist(), math.sqrt(variance)
    # exp(2 drift goal / variance) P(Z < -(goal + drift) / error), whose factors may over- and underflow.
    tail = normal.cdf(-(goal + drift) / error)
    before = math.exp(min(2 * drift * goal / variance + math.log(tail), 0.0)) if tail > 0 else 0.0
    return min(1.0, normal.cdf((drift - goal) / error) + CREDIT * before)


def count_least_betting_items(margin: float, confidence: float) -> int:
    """Fewest items whose bound from betting reaches the margin when no score changes at all.

    Raises:
        MeasurementError: a value is out of range.
    """
    found = _find_items(0.0, 0.0, margin, confidence, 0.5)
    return MOST_ITEMS if found is None else found


def plan_items_by_deviation(
    deviation: float, loss: float, margin: float, confidence: float, power: float = 0.8
) -> int | None:
    """Fewest items that certify with the power wanted.

    Args:
        deviation: standard deviation of one item's difference.
        loss: true loss that is supposed.
        margin: tolerated loss.
        confidence: one-sided.
        power: chance of being certified.

    Returns:
        None where the loss is not below the margin, or no sensible number would do.

    Raises:
        MeasurementError: a value is out of range.
    """
    if not 0 < power < 1:
        raise MeasurementError(f"power {power} is not between 0 and 1", "give a value such as 0.8")
    return _find_items(deviation, loss, margin, confidence, power)


def _find_items(deviation: float, loss: float, margin: float, confidence: float, power: float) -> int | None:
    """Fewest items by doubling and halving: the power rises with them."""
    low, high = 0, 1
    while compute_betting_power(deviation, loss, high, margin, confidence) < power:
        low, high = high, 2 * high
        if low >= MOST_ITEMS:
            return None
    while high - low > 1:
        middle = (low + high) // 2
        reached = compute_betting_power(deviation, loss, middle, margin, confidence) >= power
        low, high = (low, middle) if reached else (middle, high)
    return high


def _check(deviation: float, margin: float, confidence: float) -> None:
    """Refuse what is no deviation, margin or confidence."""
    if not 0 <= deviation <= 1:
        raise MeasurementError(f"deviation {deviation} is not between 0 and 1", "give that of an item's difference")
    if not 0 < margin < 1:
        raise MeasurementError(f"margin {margin} is not between 0 and 1", "give a share such as 0.005")
    if not 0 < confidence < 1:
        raise MeasurementError(f"confidence {confidence} is not between 0 and 1", "give a value such as 0.95")
