"""Metrics of two classes, and the record that their functionals take."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from assay.core.session import Metric

RECORD = "binary"
F1 = Metric("f1", higher_is_better=True, labelled=True, functional="f1", record=RECORD)
PRECISION = Metric("precision", higher_is_better=True, labelled=True, functional="precision", record=RECORD)
RECALL = Metric("recall", higher_is_better=True, labelled=True, functional="recall", record=RECORD)
AUC = Metric("auc", higher_is_better=True, labelled=True, functional="auc", record=RECORD)
AVERAGE_PRECISION = Metric(
    "average-precision", higher_is_better=True, labelled=True, functional="average-precision", record=RECORD
)
CLICKS = "clicks"
NORMALIZED_ENTROPY = Metric(
    "normalized-entropy", higher_is_better=False, labelled=True, functional="normalized-entropy", record=CLICKS
)
BINARY_METRICS = (F1, PRECISION, RECALL, AUC, AVERAGE_PRECISION)


def record_clicks(
    probability: NDArray[np.float64], predictions: NDArray[np.int64], truth: NDArray[np.int64]
) -> NDArray[np.float64]:
    """Probability of class 1 and true class of each item, ``[n, 2]``; NaN for an item without a prediction (-1)."""
    return np.stack([np.where(predictions >= 0, probability, np.nan), truth.astype(np.float64)], axis=1)


def record_binary(
    score: NDArray[np.float64], predictions: NDArray[np.int64], truth: NDArray[np.int64]
) -> NDArray[np.float64]:
    """Score, predicted and true class of each item, ``[n, 3]``; class 1 is the positive one.

    An item without a prediction (-1) counts as wrong, and ranks at the wrong end.

    Args:
        score: ``[n]`` of class 1.
        predictions: ``[n]``, 0, 1 or -1.
        truth: ``[n]``, 0 or 1.
    """
    valid = predictions >= 0
    ranked = np.where(valid, score, np.where(truth == 1, -np.inf, np.inf))
    predicted = np.where(valid, predictions, 1 - truth)
    return np.stack([ranked, predicted.astype(np.float64), truth.astype(np.float64)], axis=1)
