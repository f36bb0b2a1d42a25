"""The record ``score``: what is held against a threshold, ``[n]`` of two classes or ``[n, labels]`` of labels.

It is kept without targets, too, and of items without a prediction, where it says nothing.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

SCORE = "score"


def read_positive(scores: NDArray[np.float32]) -> NDArray[np.float64]:
    """Score of class 1, ``[n]``: of both classes the difference, which is above 0 where class 1 scores higher.

    Args:
        scores: ``[n, 2]`` of both classes, or ``[n, 1]`` of class 1.
    """
    # An item without a prediction may have infinite scores.
    with np.errstate(invalid="ignore"):
        wide = scores.astype(np.float64)
        return wide[:, 1] - wide[:, 0] if scores.shape[1] > 1 else wide[:, 0]
