"""Quantiles with distribution-free intervals from order statistics."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy import special

from assay.core.errors import MeasurementError
from assay.core.estimate import Estimate


def estimate_quantile(
    samples: Sequence[float] | NDArray[np.float64],
    probability: float,
    confidence: float,
    unit: str,
    effective: int | None = None,
) -> Estimate:
    """A quantile of independent samples, with one-sided bounds that hold for every distribution.

    The number of samples below the quantile is binomial, so the k-th smallest sample lies at or above the quantile
    with probability ``P(Bin(n, probability) < k)`` (David and Nagaraja, Order Statistics, 3rd ed. 2003, section 7.1).
    A bound for which no order statistic is far enough out is None: an upper bound of p99 at 95% needs 299 samples.

    Args:
        samples: ``[n]``, in ``unit``.
        probability: 0.5 for the median, 0.99 for p99.
        confidence: one-sided confidence of each bound.
        unit: of the samples.
        effective: independent samples that dependent ones are worth; as many as there are where None. The bounds are
            then the order statistics at the shares of the samples at which so many independent ones would have them.

    Raises:
        MeasurementError: no samples, one that is not finite, or a probability or confidence outside 0..1.
    """
    ordered = np.sort(np.asarray(samples, dtype=np.float64).reshape(-1))
    if not 0 < probability < 1 or not 0 < confidence < 1:
        raise MeasurementError(f"quantile {probability} at confidence {confidence}: both must lie between 0 and 1")
    if not ordered.size or not np.isfinite(ordered).all():
        bad = "there are no samples" if not ordered.size else "a sample is not a finite number"
        raise MeasurementError(f"quantile {probability:g} cannot be estimated: {bad}", "take more samples")
    n = ordered.size
    worth = n if effective is None else max(1, min(effective, n))
    value = float(np.quantile(ordered, probability))
    # below[k] = P(fewer than k+1 samples lie below the quantile), for the (k+1)-th smallest as the bound.
    below = special.bdtr(np.arange(worth), worth, probability)
    upper = np.flatnonzero(below >= confidence)
    # The (k+1)-th smallest lies at or below the quantile when at least k+1 samples do.
    lower = np.flatnonzero(1 - below >= confidence)
    high = max(float(ordered[_spread(int(upper[0]), n, worth)]), value) if upper.size else None
    low = min(float(ordered[(int(lower[-1]) * n) // worth]), value) if lower.size else None
    return Estimate(value, low, high, confidence, worth, unit)


def _spread(place: int, n: int, worth: int) -> int:
    """Place among n samples that stands for a place among fewer, rounded outwards."""
    return -(-(place + 1) * n // worth) - 1


def count_needed(probability: float, confidence: float) -> int:
    """Fewest samples that give both bounds of a quantile; 299 for p99 at 95%.

    Source: the largest of n samples exceeds the quantile with probability ``1 - probability^n``.
    """
    rarer = max(probability, 1 - probability)
    return math.ceil(math.log1p(-confidence) / math.log(rarer) - 1e-9)
