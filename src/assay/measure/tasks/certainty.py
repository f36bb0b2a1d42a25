"""How sure a classifier is of what it says."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

SUM_SLACK = 0.01
"""Probabilities sum to 1 within this, also in bfloat16."""


def measure_certainty(scores: NDArray[np.float32], valid: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Probability of the class with the highest score, ``[n]``: as given, else by softmax (one score: by sigmoid).

    Rows are probabilities where all of them lie in [0, 1] and each sums to 1. A row without a prediction has 0.

    Args:
        scores: ``[n, classes]`` or ``[n, 1]``, logits or probabilities.
        valid: ``[n]`` rows that have a prediction: no NaN, no +Inf, something above -Inf.
    """
    certainty = np.zeros(len(scores))
    rows = scores[valid]
    if not len(rows):
        return certainty
    least, highest = rows.min(), rows.max(axis=1, keepdims=True)
    if scores.shape[1] == 1:
        value = highest[:, 0].astype(np.float64)
        is_share = least >= 0 and highest.max() <= 1
        certainty[valid] = np.maximum(value, 1 - value) if is_share else 1 / (1 + np.exp(-np.abs(value)))
        return certainty
    is_share = least >= 0 and highest.max() <= 1 + SUM_SLACK and np.abs(rows.sum(axis=1) - 1).max() <= SUM_SLACK
    certainty[valid] = np.minimum(highest[:, 0], 1) if is_share else 1 / np.exp(rows - highest).sum(axis=1)
    return certainty
