"""A ratio of two means over the items, the common form of F1, precision, recall and perplexity's exponent."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def weigh(numerator: NDArray[np.float64], denominator: NDArray[np.float64]) -> tuple[float, float]:
    """The ratio of the sums and the mean of the denominator; a ratio over nothing is 0, over ``1/n``."""
    total = float(denominator.sum())
    if total == 0:
        return 0.0, 1 / len(denominator)
    return float(numerator.sum()) / total, total / len(denominator)


def influence_ratio(numerator: NDArray[np.float64], denominator: NDArray[np.float64]) -> NDArray[np.float64]:
    """Influence of each item on ``mean(numerator) / mean(denominator)``, ``[n]``: the delta method's linear term."""
    ratio, mean = weigh(numerator, denominator)
    return (numerator - ratio * denominator) / mean
